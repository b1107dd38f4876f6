"""Completers made from options: the model in this process, or one at a server."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from reason_decode.core.options import EndpointOptions, GenerationOptions
from reason_decode.core.thinking import find_thinking_tags
from reason_decode.evaluation.complete import Completer, LocalCompleter
from reason_decode.io.openai_client import CompletionEndpoint
from reason_decode.models.chat_template import has_chat_template
from reason_decode.models.checkpoint import load_tokenizer
from reason_decode.models.generation_config import (
    Sampling,
    clean_generation_config,
    read_generation_config,
    resolve_sampling,
)
from reason_decode.models.loading import load_model, packaged
from reason_decode.scorers.loading import check_scorer_name
from reason_decode.serving.completion import EndpointCompleter
from reason_decode.strategies.from_options import selector_from_options, strategy_from_options

__all__ = ["completer_from_options", "local_completer", "sampling_from_options"]

MAX_NEW_TOKENS = 256


def completer_from_options(
    options: GenerationOptions,
    endpoint: EndpointOptions | None = None,
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    state_key: Callable[[Sequence[str]], Hashable] | None = None,
    stop: Sequence[str] = (),
) -> Completer:
    """A completer of prompts by the model and the strategy that the options name.

    Args:
        options: the model, the strategy and its scorer.
        endpoint: the server that samples, if it has an address; else the model is loaded here.
        max_new_tokens: tokens of a completion, where the options do not say.
        state_key: key of equivalent solutions, see ``StepSearch``.
        stop: texts at which the completion of a text ends.

    Raises:
        OSError: there is no such model or scorer.
        ValueError: options do not go together.
    """
    length = options.max_new_tokens or max_new_tokens
    if endpoint is not None and endpoint.endpoint is not None:
        return _endpoint_completer(options, endpoint, length, stop)
    return local_completer(options, length, state_key=state_key, stop=stop)


def local_completer(
    options: GenerationOptions,
    max_new_tokens: int,
    *,
    state_key: Callable[[Sequence[str]], Hashable] | None = None,
    stop: Sequence[str] = (),
) -> LocalCompleter:
    """A completer by a model that is loaded into this process.

    Args:
        options: as in ``completer_from_options``.
        max_new_tokens: tokens of a completion, at most.
        state_key: as in ``completer_from_options``.
        stop: as in ``completer_from_options``.

    Raises:
        OSError: there is no such model or scorer.
        ValueError: options do not go together.
    """
    sampling = sampling_from_options(options)
    # A rationale model need not say that it is one.
    if options.scoring.scorer is not None and options.strategy != "rationale-guided":
        check_scorer_name(options.scoring.scorer)
    model, tokenizer = load_model(options.model, options.loading)
    chat = options.prompting.chat and has_chat_template(tokenizer)
    if not chat:
        _check_text_prompts(options, f"the tokenizer of {options.model} has no chat template")
    # The model is ours, so its own config can be replaced: generate would take from it whatever it
    # is not given.
    model.generation_config = clean_generation_config(model.generation_config, tokenizer, chat=chat)
    arguments = dict(sampling.arguments)
    return LocalCompleter(
        model,
        tokenizer,
        strategy_from_options(options, tokenizer, state_key, model),
        max_new_tokens=max_new_tokens,
        temperature=arguments.pop("temperature", 0.0),
        seed=options.seed,
        chat=chat,
        chat_template_kwargs=options.prompting.chat_template_kwargs,
        stop=() if chat else stop,
        thinking_tags=options.thoughts.tags,
        generate_kwargs=arguments,
    )


def sampling_from_options(options: GenerationOptions) -> Sampling:
    """The sampling arguments of a model in this process, from the options and its checkpoint.

    Args:
        options: the model and the options of sampling.

    Raises:
        ValueError: generation_config.json of the checkpoint, or the file of the options, cannot be
            used.
    """
    folder = packaged("base") if options.model == "tiny" else options.model
    config = read_generation_config(folder)
    return resolve_sampling(options.sampling, config, greedy=options.strategy == "greedy")


def _endpoint_completer(
    options: GenerationOptions, endpoint: EndpointOptions, length: int, stop: Sequence[str]
) -> EndpointCompleter:
    """A completer of a server's model."""
    endpoint.check_strategy(options)
    tokenizer: PreTrainedTokenizerBase | None = None
    if endpoint.tokenizer is not None:
        tokenizer = load_tokenizer(endpoint.tokenizer)
        if not has_chat_template(tokenizer):
            raise ValueError(
                f"the tokenizer {endpoint.tokenizer} has no chat template; leave it out, and "
                "prompts are sent as text"
            )
    else:
        _check_text_prompts(options, "a server is sent text, unless its tokenizer is named")
    sampling: dict[str, Any] = {"temperature": 1.0, **options.sampling.given}
    if options.strategy == "greedy":
        sampling["temperature"] = 0.0
    if stop and tokenizer is None:
        sampling["stop"] = list(stop)
    server = CompletionEndpoint(
        str(endpoint.endpoint),
        options.model,
        api_key_env=endpoint.api_key_env,
        concurrency=endpoint.concurrency,
        attempts=endpoint.attempts,
        timeout=endpoint.timeout,
        total_timeout=endpoint.total_timeout,
        max_tokens=length,
        extra_body={**sampling, **endpoint.extra_body},
    )
    tags = options.thoughts.tags or find_thinking_tags(tokenizer)
    return EndpointCompleter(
        server,
        selector_from_options(options, tags),
        n=options.n if options.compares_candidates else 1,
        seed=options.seed,
        tokenizer=tokenizer if options.prompting.chat else None,
        chat_template_kwargs=options.prompting.chat_template_kwargs,
        thinking_tags=tags,
    )


def _check_text_prompts(options: GenerationOptions, why: str) -> None:
    """Raise if the options are about conversations, which there are none of."""
    for name in ("system", "chat_template_kwargs"):
        if value := getattr(options.prompting, name):
            raise ValueError(f"got {name}={value!r:.60}, and {why}; drop it")
