"""From the body of a request to what is decoded: the strategy, the options, the limits."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from reason_decode.core.gateway_options import GatewayOptions
from reason_decode.core.messages import Prompt
from reason_decode.core.options import PLAIN, GenerationOptions, ScorerOptions
from reason_decode.core.solution_options import SolutionOptions
from reason_decode.serving.gateway.decoding import DecodeRequest
from reason_decode.serving.gateway.errors import RequestError
from reason_decode.serving.gateway.model_names import FORMS, parse_model_name
from reason_decode.serving.gateway.requests import SamplingRequest

__all__ = ["plan_request"]

MAX_LOOKAHEAD = 8


def plan_request(
    body: SamplingRequest,
    prompts: Sequence[Prompt],
    options: GatewayOptions,
    served: str,
    has_scorer: bool,
) -> DecodeRequest:
    """The strategy, options and prompts that a request asks for.

    Args:
        body: the request.
        prompts: its prompts.
        options: defaults and limits.
        served: name of the served model.
        has_scorer: whether there is a scorer.

    Raises:
        RequestError: the model is not served, or options are out of range or do not go together.
    """
    found = _strategy(body, served)
    weighted = bool(found.pop("weighted", False)) or found.get("vote_weighting") is not None
    sampling = replace(options.sampling, **body.sampling_options)
    found.setdefault("strategy", "greedy" if sampling.temperature == 0 else "sample")
    strategy = found["strategy"]
    if weighted and strategy != "self-consistency":
        raise RequestError(400, f"got weighted votes with {strategy}, which holds none")
    scored = strategy not in PLAIN and (strategy != "self-consistency" or weighted)
    if scored and not has_scorer:
        raise RequestError(
            400,
            f"got {strategy}, which needs a scorer, and this gateway was started without one; use "
            "NAME or vote-N/NAME",
            param="model",
        )
    limits = options.limits
    length = body.token_limit or limits.max_completion_tokens
    _check_limit("max_tokens", length, limits.max_completion_tokens)
    _check_limit("prompt", len(prompts), limits.max_prompts, "prompts")
    try:
        made = GenerationOptions(
            **found,
            model=served,
            max_new_tokens=length,
            sampling=sampling,
            prompting=options.prompting,
            # A plain vote is asked for no scorer, although there is one.
            scoring=options.scoring if scored else ScorerOptions(),
            solutions=options.solutions if scored else SolutionOptions(),
            thoughts=options.thoughts if scored else replace(options.thoughts, score_part="both"),
        )
    except ValueError as error:
        raise RequestError(400, str(error)) from error
    choices = body.n or 1
    _check_candidates(made, choices, limits.max_candidates)
    return DecodeRequest(
        prompts,
        made,
        choices,
        body.stops,
        body.seed,
        weighted,
        body.template_options,
    )


def _strategy(body: SamplingRequest, served: str) -> dict[str, Any]:
    """The options of the strategy, from the model's name and from ``reason_decode``."""
    named = parse_model_name(body.model, served)
    if named is None:
        raise RequestError(
            404,
            f"got model={body.model!r:.200}; served is {served}, and STRATEGY/{served} with the "
            f"STRATEGY one of {FORMS}",
            param="model",
            code="model_not_found",
        )
    given: Mapping[str, Any] = body.strategy_options
    for name in named.keys() & given.keys():
        if named[name] != given[name]:
            raise RequestError(
                400,
                f"got {name}={given[name]!r} in reason_decode and {name}={named[name]!r} in the "
                "model's name; give one",
                param="reason_decode",
            )
    if given and "strategy" not in {*named, *given}:
        raise RequestError(
            400,
            f"got reason_decode={dict(given)!r:.80} without a strategy; name one there, or in the "
            "model's name",
            param="reason_decode",
        )
    return {**named, **given}


def _check_candidates(options: GenerationOptions, choices: int, most: int) -> None:
    """Raise if there are too many candidates, or fewer than are to be returned."""
    strategy = options.strategy
    if strategy in PLAIN:
        _check_limit("n", choices, most)
        if strategy == "greedy" and choices > 1:
            raise RequestError(
                400,
                f"got n={choices} with temperature=0, by which all are alike; sample, or ask for 1",
                param="n",
            )
        return
    width = options.beam_width if strategy == "step-search" else 1
    _check_limit("candidates", options.n * width, most)
    _check_limit("lookahead", options.lookahead, MAX_LOOKAHEAD)
    returned = {
        "best-of-n": options.n,
        "particle-filter": options.n,
        "step-search": options.beam_width,
    }
    if choices > (largest := returned.get(strategy, 1)):
        raise RequestError(
            400,
            f"got n={choices} answers of {strategy}, which returns at most {largest} here",
            param="n",
        )


def _check_limit(name: str, value: int, most: int, unit: str = "") -> None:
    if value > most:
        raise RequestError(
            400,
            f"got {name}={value}; this gateway allows at most {most} {unit}".rstrip(),
            param=name,
        )
