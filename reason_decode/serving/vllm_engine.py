"""A model of vLLM in this process, which strategies take in the place of one of transformers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from transformers import PreTrainedTokenizerBase

from reason_decode.io.completions import Choice, Completion, CompletionRequest
from reason_decode.serving.engine_model import EngineModel
from reason_decode.serving.requests import Transport
from reason_decode.serving.servers import SERVERS, Server

__all__ = ["VLLMModel", "load_llm"]

_CHUNK = 32
"""Tokens between two looks for the end of a step that no stop string says."""


class VLLMModel(EngineModel):
    r"""A ``vllm.LLM`` in this process, for ``strategy.chat(model, messages)``.

    `pip install vllm`

    Each round of a strategy is one call of ``LLM.generate`` with all its prompts as token ids, so
    vLLM batches them, and reads their common beginnings from its prefix cache. Log-probabilities,
    and so confidence scorers, are there. Scorers run beside it in this process.

    Args:
        llm: the engine, made with any of its own options.
        tokenizer: the model's tokenizer; ``None``: that of the engine.
        seeds: pass a seed with each request; vLLM's builds for CPUs refuse seeds.
        extra: further arguments of ``SamplingParams``.

    Raises:
        ModuleNotFoundError: vLLM is not installed.

    Source: vllm 0.32, vllm/entrypoints/llm.py and vllm/sampling_params.py.

    Examples:
        >>> from reason_decode.serving import VLLMModel
        >>> VLLMModel.__mro__[1].__name__
        'EngineModel'
    """

    def __init__(
        self,
        llm: Any,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        seeds: bool = True,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        _vllm()  # before anything is sent
        self.llm = llm
        name = str(llm.llm_engine.model_config.model)
        known: Any = llm.get_tokenizer() if tokenizer is None else tokenizer
        super().__init__(name, known, seeds=seeds, extra_body=extra)

    @property
    def server(self) -> Server:
        """The abilities of vLLM, which tells token ids without being asked."""
        own = SERVERS["vllm"]
        fields = {name: x for name, x in own.fields.items() if name != "return_token_ids"}
        return replace(own, fields=fields)

    def _transport(self) -> Transport:
        return _InProcess(self.llm, self.name)


def load_llm(model: str, **options: Any) -> Any:
    """A ``vllm.LLM`` that shares the common beginnings of prompts.

    Args:
        model: a folder or a Hub id.
        options: further arguments of ``LLM``.

    Raises:
        ModuleNotFoundError: vLLM is not installed.
    """
    return _vllm().LLM(model=model, enable_prefix_caching=True, **options)


class _InProcess:
    """The way of requests to an engine in this process."""

    def __init__(self, llm: Any, name: str) -> None:
        self.llm, self.name = llm, name

    def ask(
        self, requests: Sequence[tuple[int, CompletionRequest]], check: Callable[[], None] | None
    ) -> list[Completion]:
        """The answers to requests, which the engine batches; see ``Transport``."""
        plain = [k for k, (_, request) in enumerate(requests) if request.until is None]
        found: dict[int, Completion] = {}
        answers = self._complete([requests[k][1].fields for k in plain], check)
        found.update(zip(plain, answers, strict=True))
        looked = [k for k in range(len(requests)) if k not in found]
        found.update(self._complete_until({k: requests[k][1] for k in looked}, check))
        return [found[k] for k in range(len(requests))]

    def _complete(
        self, fields: Sequence[Mapping[str, Any]], check: Callable[[], None] | None
    ) -> list[Completion]:
        if check is not None:
            check()
        if not fields:
            return []
        params = [_params(x) for x in fields]
        prompts = [{"prompt_token_ids": list(x["prompt"])} for x in fields]
        outputs = self.llm.generate(prompts, params, use_tqdm=False)
        return [
            _completion(x, bool(f.get("logprobs"))) for x, f in zip(outputs, fields, strict=True)
        ]

    def _complete_until(
        self, requests: Mapping[int, CompletionRequest], check: Callable[[], None] | None
    ) -> dict[int, Completion]:
        """Completions in pieces, until each has what its request looks for."""
        whole: dict[int, Completion] = {}
        going = dict(requests)
        while going:
            fields = [self._piece(x, whole.get(k)) for k, x in going.items()]
            for (k, request), more in zip(
                list(going.items()), self._complete(fields, check), strict=True
            ):
                whole[k] = _joined(whole.get(k), more)
                (choice,) = whole[k].choices
                spent = len(choice.token_ids or ()) >= request.fields["max_tokens"]
                assert request.until is not None
                if choice.end != "stop" and not spent:
                    # The piece was at its end, and not what the request may get.
                    whole[k] = whole[k]._replace(choices=(choice._replace(end=None),))
                if choice.end == "stop" or spent or request.until(choice.text):
                    del going[k]
        return whole

    def _piece(self, request: CompletionRequest, before: Completion | None) -> dict[str, Any]:
        """The fields of a request for the next tokens of a completion."""
        ids = () if before is None else before.choices[0].token_ids or ()
        fields = dict(request.fields)
        fields["prompt"] = [*fields["prompt"], *ids]
        fields["max_tokens"] = min(_CHUNK, fields["max_tokens"] - len(ids))
        return fields


def _params(fields: Mapping[str, Any]) -> Any:
    return _vllm().SamplingParams(**{name: x for name, x in fields.items() if name != "prompt"})


def _vllm() -> Any:
    try:
        return import_module("vllm")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("vLLM is not installed: pip install vllm") from error


def _completion(output: Any, with_logps: bool) -> Completion:
    """The answer in a ``RequestOutput``."""
    choices = tuple(_choice(x, with_logps) for x in output.outputs)
    sampled = sum(len(x.token_ids or ()) for x in choices)
    cached = output.num_cached_tokens or 0
    return Completion(choices, len(output.prompt_token_ids), sampled, cached)


def _choice(output: Any, with_logps: bool) -> Choice:
    ids, logps, tops = tuple(output.token_ids), None, None
    if with_logps and output.logprobs is not None:
        pairs = list(zip(ids, output.logprobs, strict=True))
        logps = tuple(float(at[token].logprob) for token, at in pairs)
        tops = tuple(tuple(float(x.logprob) for x in at.values()) for _, at in pairs)
    return Choice(output.text, output.finish_reason, ids, logps, tops)


def _joined(before: Completion | None, more: Completion) -> Completion:
    """A completion and its continuation as one."""
    if before is None:
        return more
    (first,), (then,) = before.choices, more.choices
    logps = None if first.logps is None or then.logps is None else first.logps + then.logps
    tops = (
        None
        if first.top_logps is None or then.top_logps is None
        else first.top_logps + then.top_logps
    )
    ids = (first.token_ids or ()) + (then.token_ids or ())
    choice = Choice(first.text + then.text, then.end, ids, logps, tops)
    # What was read again is in the engine's cache, or was counted as read again.
    read = before.prompt_tokens + more.prompt_tokens
    cached = before.cached_tokens + more.cached_tokens
    return Completion((choice,), read, len(ids), cached)
