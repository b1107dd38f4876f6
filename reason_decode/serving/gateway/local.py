"""A model in this process as the backend of a gateway."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    GenerationConfig,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StopStringCriteria,
)

from reason_decode.core.gateway_options import GatewayOptions
from reason_decode.core.messages import Prompt
from reason_decode.core.model_options import ModelOptions
from reason_decode.core.options import PLAIN, ScorerOptions
from reason_decode.core.solutions import Candidate, Cost, Trace
from reason_decode.core.thinking import find_thinking_tags
from reason_decode.models.chat_template import has_chat_template
from reason_decode.models.generation_config import read_generation_config, resolve_sampling
from reason_decode.models.inputs import (
    decode,
    encode_prompts,
    input_device,
    max_positions,
    special_ids,
)
from reason_decode.models.loading import packaged
from reason_decode.scorers.base import Scorer
from reason_decode.scorers.loading import check_scorer_name
from reason_decode.serving.from_options import local_model
from reason_decode.serving.gateway.decoding import Choice, Decoded, DecodeRequest
from reason_decode.serving.gateway.streaming import DeltaStreamer, cut_at_stop
from reason_decode.strategies.chat import add_system
from reason_decode.strategies.from_options import scorer_from_options, strategy_with_scorer

__all__ = [
    "LocalBackend",
    "PreparedCall",
    "load_local_backend",
    "load_scorers",
    "name_of_model",
]


@dataclass(frozen=True)
class PreparedCall:
    """The arguments of a call of ``generate``.

    Args:
        request: the request.
        inputs: ``input_ids`` and ``attention_mask``, (b, t) int64.
        arguments: the other arguments of ``generate``.
        scorer: the strategy's scorer; ``None`` without one.
    """

    request: DecodeRequest
    inputs: Mapping[str, Tensor]
    arguments: Mapping[str, Any]
    scorer: Scorer | None


class LocalBackend:
    """A ``Backend`` of a model in this process.

    Args:
        model: a causal language model.
        tokenizer: the tokenizer of ``model``.
        step_scorer: scores steps in a search; ``None``: only plain decoding and votes.
        whole_scorer: scores whole solutions; ``None``: the same.
        options: how prompts are rendered, and thoughts found.
        generation_config: of the checkpoint; shapes the sampling where nobody else does.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        step_scorer: Scorer | None = None,
        whole_scorer: Scorer | None = None,
        *,
        options: GatewayOptions | None = None,
        generation_config: GenerationConfig | None = None,
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.step_scorer = step_scorer
        self.whole_scorer = step_scorer if whole_scorer is None else whole_scorer
        self.options = options or GatewayOptions()
        self.generation_config = generation_config or GenerationConfig()
        tags = self.options.thoughts.tags or find_thinking_tags(tokenizer)
        self.kept = special_ids(tokenizer, tags)

    @property
    def chat(self) -> bool:
        """True if the tokenizer has a chat template that is to be used."""
        return self.options.prompting.chat and has_chat_template(self.tokenizer)

    @property
    def threads(self) -> int:
        """One: a model in this process has one random state, and one set of cores."""
        return 1

    @property
    def has_scorer(self) -> bool:
        """True if there is a scorer."""
        return self.step_scorer is not None

    def prepare(self, request: DecodeRequest) -> PreparedCall:
        """The arguments of ``generate``; see ``Backend``."""
        options = request.options
        prompting = self.options.prompting
        prompts = [_with_system(prompt, prompting.system) for prompt in request.prompts]
        template = {**prompting.chat_template_kwargs, **request.template_options}
        inputs = encode_prompts(self.tokenizer, prompts, chat_template_kwargs=template)
        arguments = dict(
            resolve_sampling(
                options.sampling, self.generation_config, greedy=options.strategy == "greedy"
            ).arguments
        )
        arguments |= {
            "do_sample": options.strategy != "greedy",
            "num_return_sequences": request.choices,
            "max_new_tokens": self.longest_answer(inputs["input_ids"].shape[1], request),
        }
        scorer = self._scorer(request)
        if options.strategy not in PLAIN:
            # Made once before the request waits: a scorer that does not fit is refused at once.
            strategy_with_scorer(options, self.tokenizer, scorer)
            if not isinstance(prompts[0], str):
                arguments["messages"] = prompts
        return PreparedCall(request, inputs, arguments, scorer)

    def decode(
        self,
        prepared: PreparedCall,
        check: Callable[[], None],
        emit: Callable[[str], None] | None = None,
    ) -> Decoded:
        """Decode by ``generate``; see ``Backend``."""
        request, options = prepared.request, prepared.request.options
        streamer = None if emit is None else DeltaStreamer(self.tokenizer, emit, self.kept)
        plain = options.strategy in PLAIN
        strategy = None
        if not plain:
            strategy = strategy_with_scorer(
                options, self.tokenizer, prepared.scorer, streamer=streamer
            )
        _seed(request.seed)
        output = self.generate(prepared, strategy, check, streamer)
        prompt_tokens = int(prepared.inputs["attention_mask"].sum())
        if not plain:
            choices = [_chosen(trace, request) for trace in output.traces]
            return Decoded(choices, prompt_tokens, output.cost, output.traces)
        new = output.sequences[:, prepared.inputs["input_ids"].shape[1] :].cpu()
        flat = [self._choice(row, request) for row in new]
        groups = [flat[k : k + request.choices] for k in range(0, len(flat), request.choices)]
        sampled = sum(choice.tokens for choice in flat)
        # generate() repeats a prompt for each of its sequences.
        cost = Cost(prompt_tokens * request.choices, sampled - len(flat), sampled)
        return Decoded(groups, prompt_tokens, cost)

    def generate(
        self, prepared: PreparedCall, strategy: Any, check: Callable[[], None], streamer: Any
    ) -> Any:
        """The output of ``generate`` for a prepared call.

        Args:
            prepared: the call.
            strategy: the decoding strategy; ``None``: plain decoding.
            check: raises where the answer is no longer wanted.
            streamer: of plain decoding; a strategy has its own.
        """
        arguments = dict(prepared.arguments)
        criteria: list[StoppingCriteria] = [_Check(check)]
        if prepared.request.stop:
            criteria.append(StopStringCriteria(self.tokenizer, list(prepared.request.stop)))
        if strategy is None:
            arguments["streamer"] = streamer
        else:
            arguments["custom_generate"] = strategy
        device = input_device(self.model)
        return self.model.generate(
            **{name: x.to(device) for name, x in prepared.inputs.items()},
            **arguments,
            stopping_criteria=criteria,
            return_dict_in_generate=True,
        )

    def _scorer(self, request: DecodeRequest) -> Scorer | None:
        strategy = request.options.strategy
        if strategy in PLAIN or (strategy == "self-consistency" and not request.weighted):
            return None
        whole = strategy in ("best-of-n", "self-consistency")
        return self.whole_scorer if whole else self.step_scorer

    def longest_answer(self, width: int, request: DecodeRequest) -> int:
        """Tokens of an answer, at most, behind prompts of ``width`` tokens.

        Raises:
            ValueError: the prompt leaves the model no position, or too few are left.
        """
        length, most = request.options.max_new_tokens or 1, max_positions(self.model)
        if most is None or width + length <= most:
            return length
        if width >= most:
            raise ValueError(
                f"got a prompt of {width} tokens; the model has {most} positions for it and the "
                "answer"
            )
        return most - width

    def _choice(self, ids: Tensor, request: DecodeRequest) -> Choice:
        """A sequence of plain ``generate``, (t,) int64, with padding behind its end."""
        ends = self.model.generation_config.eos_token_id
        is_end = torch.isin(ids, torch.tensor([] if ends is None else ends, dtype=ids.dtype))
        ended = bool(is_end.any())
        tokens = int(is_end.long().argmax()) + 1 if ended else len(ids)
        whole = decode(self.tokenizer, ids[:tokens], self.kept)
        text = cut_at_stop(whole, request.stop)
        return Choice(text, "stop" if ended or len(text) < len(whole) else "length", tokens)


def load_local_backend(
    name: str, options: GatewayOptions, loading: ModelOptions | None = None
) -> LocalBackend:
    """The backend of a model that is loaded into this process, with its scorer.

    Args:
        name: ``tiny``, a folder or a Hub id.
        options: the scorer, and how prompts are rendered.
        loading: dtype, devices, quantization.

    Raises:
        OSError: there is no such model or scorer.
        ValueError: options do not go together.
    """
    if name == "tiny" and not options.scoring.is_given:
        options = replace(options, scoring=ScorerOptions(scorer="tiny"))
    if options.scoring.scorer is not None:
        check_scorer_name(options.scoring.scorer)
    config = read_generation_config(packaged("base") if name == "tiny" else name)
    model, tokenizer = local_model(name, loading, options.prompting)
    chat = options.prompting.chat and has_chat_template(tokenizer)
    if options.prompting.system is not None and not chat:
        raise ValueError(
            f"got system={options.prompting.system!r:.60}, and the tokenizer of {name} has no chat "
            "template; drop it"
        )
    step, whole = load_scorers(options, (model, tokenizer))
    return LocalBackend(model, tokenizer, step, whole, options=options, generation_config=config)


def name_of_model(name: str, options: GatewayOptions) -> str:
    """The name by which requests ask for a model: that of the options, a Hub id, a folder's name.

    Raises:
        ValueError: the name of the options is empty.
    """
    if options.served_model_name is None:
        return Path(name).resolve().name if Path(name).exists() else name
    if not options.served_model_name.strip():
        raise ValueError("got an empty served_model_name; name the model")
    return options.served_model_name


def load_scorers(options: GatewayOptions, generator: Any) -> tuple[Scorer | None, Scorer | None]:
    """The scorer of steps, and that of whole solutions where it is another one."""
    scoring = options.scoring
    if not scoring.is_given:
        return None, None
    splitter = options.solutions.splitter
    step = scorer_from_options(
        scoring, whole_solutions=False, generator=generator, splitter=splitter
    )
    # Others score whole solutions as they score steps, and are not loaded twice.
    if not any(word in (scoring.scorer or "") for word in ("tiny", "likelihood", "confidence")):
        return step, None
    return step, scorer_from_options(scoring, generator=generator, splitter=splitter)


def _with_system(prompt: Prompt, system: str | None) -> Prompt:
    """A conversation with the gateway's system turn, unless it has its own."""
    if isinstance(prompt, str) or prompt[0]["role"] == "system":
        return prompt
    return add_system(prompt, system)


def _seed(seed: int | None) -> None:
    if seed is None:
        # Otherwise the seed of an earlier request would decide this one, too.
        torch.seed()
    else:
        torch.manual_seed(seed)


def _chosen(trace: Trace, request: DecodeRequest) -> Sequence[Choice]:
    """The candidates that a strategy chose."""
    found: list[Candidate] = [trace.candidates[k] for k in trace.chosen[: request.choices]]
    return [
        Choice(
            cut_at_stop(one.text, request.stop),
            "stop" if one.finished else "length",
            one.tokens,
            one.total,
            trace.agreement,
            one.answer,
        )
        for one in found
    ]


class _Check(StoppingCriteria):
    """A stopping criterion that raises where the answer is no longer wanted."""

    def __init__(self, check: Callable[[], None]) -> None:
        self.check = check

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        self.check()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
