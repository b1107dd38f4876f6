"""The decoding engine: prefill, sampling and branching for strategies.

``generate(custom_generate=strategy)`` hands a strategy prepared logits processors, stopping
criteria and a key-value cache. ``Generation`` turns them into the operations that strategies are
made of: read the prompts, sample continuations, branch them, go on from some of them. A call that
asks for what a strategy cannot do is refused before any forward pass: ``generate`` itself would
drop unsupported options without a word, or fail late.

This is the only file that calls transformers' private generation API (tested with 5.18 and 5.23).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import LongTensor, Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteriaList,
)
from transformers.cache_utils import Cache
from transformers.generation.stopping_criteria import MaxLengthCriteria
from transformers.generation.streamers import BaseStreamer

from reason_decode.core.solutions import Cost
from reason_decode.generation.batch import (
    Branch,
    DecodeBatch,
    RowCache,
    build_row_batch,
    check_branchable,
    check_selectable,
    clone_cache,
    preallocate_cache,
    retain_sliding_window_history,
    select_rows,
    stack_rows,
    take_row,
)
from reason_decode.generation.sampling import AnswerStream, Boundary, Decoder, sample_branches
from reason_decode.models.inputs import check_prompts, pad_rows

__all__ = ["Generation"]

# Options that choose another decoding method of transformers, and its name.
_OTHER_METHODS = {
    "penalty_alpha": "contrastive search",
    "dola_layers": "DoLa",
    "constraints": "constrained beams",
    "force_words_ids": "constrained beams",
    "prompt_lookup_num_tokens": "assisted decoding",
    "assistant_early_exit": "assisted decoding",
    "use_mtp": "assisted decoding",
}
_PER_TOKEN_OUTPUTS = ("output_scores", "output_logits", "output_attentions", "output_hidden_states")


class Generation:
    """One call of ``generate`` as the operations that a strategy needs.

    Args:
        strategy_name: the strategy's class name, for error messages.
        model: a decoder-only model.
        input_ids: (b * k, t) int64, padded on the left, with k = ``num_return_sequences``.
        processors: the prepared logits processors.
        criteria: the prepared stopping criteria.
        config: the prepared generation config.
        kwargs: the model kwargs that ``generate`` passes to a decoding method.
        streamer: receives the answer's tokens as soon as they are decided.

    Raises:
        ValueError: the call asks for something that a strategy cannot do; raised before any forward
            pass.
    """

    def __init__(
        self,
        strategy_name: str,
        model: PreTrainedModel,
        input_ids: Tensor,
        processors: LogitsProcessorList,
        criteria: StoppingCriteriaList,
        config: GenerationConfig,
        kwargs: dict[str, Any],
        streamer: BaseStreamer | None = None,
    ) -> None:
        _validate(strategy_name, model, input_ids, config, kwargs)
        self.strategy_name, self.config = strategy_name, config
        # Any: transformers' stubs lack the generation methods of models.
        self.model: Any = model
        # The stubs want a LongTensor of ids, a type that torch's operations never return, and
        # scores for criteria, which run without.
        self.processors = cast(Callable[[Tensor, Tensor], Tensor], processors)
        # MaxLengthCriteria compares the width of the batch; here each row has a budget of its own.
        self.criteria = [
            cast(Callable[[Tensor, None], Tensor], criterion)
            for criterion in criteria
            if not isinstance(criterion, MaxLengthCriteria)
        ]
        self.num_return_sequences = config.num_return_sequences or 1
        self.stream = AnswerStream(strategy_name, streamer, len(input_ids))
        # generate() repeats each prompt num_return_sequences times; one of them is enough.
        once = slice(None, None, self.num_return_sequences)
        self.prompt_ids = input_ids[once]
        self._model_kwargs = {
            name: select_rows(x, once, len(input_ids)) for name, x in kwargs.items()
        }
        cache = self._model_kwargs.get("past_key_values")
        if isinstance(cache, Cache) and cache.get_seq_length() > 0:
            # The caller may use this cache again, so it must not change.
            self._model_kwargs["past_key_values"] = clone_cache(cache)
        self.max_new_tokens = int(config.max_length) - input_ids.shape[1]
        pad = config._pad_token_tensor
        self.pad_token_id = 0 if pad is None else int(pad)
        self.cost = Cost()

    def unpadded_prompt(self, row: int) -> Tensor:
        """Token ids of a prompt without padding, (t,) int64."""
        mask = self._model_kwargs.get("attention_mask")
        ids = self.prompt_ids[row]
        return ids if mask is None else ids[mask[row].bool()]

    def prefill(self, branchable: bool = False) -> DecodeBatch:
        """Read every prompt once.

        Args:
            branchable: ``sample`` or ``as_branches`` will be asked for branches that can be
                continued.

        Raises:
            ValueError: branches are asked for, and the model's cache does not allow them.
        """
        kwargs = dict(self._model_kwargs)
        if branchable:
            retain_sliding_window_history(kwargs["past_key_values"])
            check_branchable(kwargs["past_key_values"], self.strategy_name)
        outputs = self.model._prefill(self.prompt_ids, self.config, kwargs)
        mask = kwargs.get("attention_mask")
        read = self.prompt_ids.numel() if mask is None else int(mask.sum())
        self.cost += Cost(prefill=read)
        kwargs = self._updated(outputs, kwargs)
        remaining = [self.max_new_tokens] * len(self.prompt_ids)
        return DecodeBatch(self.prompt_ids, kwargs, self._last_logits(outputs), remaining)

    def sample(
        self,
        batch: DecodeBatch,
        n: int,
        boundary: Boundary | None = None,
        branchable: bool = False,
        greedy: bool = False,
    ) -> list[Branch]:
        """Sample n continuations of each row.

        Each runs until a stopping criterion, its token budget or a boundary ends it; then it leaves
        the batch and costs nothing more. With ``do_sample=False`` the best-scored token is taken.

        Args:
            batch: the rows to continue; used up by the call.
            n: continuations a row.
            boundary: given the new tokens of a continuation, true if it pauses after them.
            branchable: keep what is needed to continue each branch.
            greedy: take the best-scored token even if the call has ``do_sample=True``.

        Returns:
            ``len(batch.ids) * n`` branches, those of a row next to each other.

        Raises:
            ValueError: scores are NaN or infinite; or branches are asked for, and the model's cache
                does not allow them.
        """
        if batch.logits is None:
            logits, kwargs = self._forward(batch.ids, batch.model_kwargs)
            batch = DecodeBatch(batch.ids, kwargs, logits, batch.remaining_tokens)
        if branchable:
            check_branchable(batch.model_kwargs["past_key_values"], self.strategy_name)
        batch = batch.repeat(n)
        preallocate_cache(batch.model_kwargs["past_key_values"])
        decoder = Decoder(
            self.strategy_name,
            self.processors,
            self.criteria,
            bool(self.config.do_sample) and not greedy,
            self.pad_token_id,
            self._forward,
        )
        branches = sample_branches(decoder, batch, boundary, branchable)
        self.cost += Cost(sampled=sum(len(branch.tokens) for branch in branches))
        return branches

    def clone_rows(self, batch: DecodeBatch, rows: Sequence[int]) -> DecodeBatch:
        """Independent copies of some rows, so that the batch can be sampled from more than once.

        Raises:
            ValueError: the batch has no key-value cache.
        """
        if not isinstance(batch.model_kwargs.get("past_key_values"), Cache):
            raise ValueError(f"{self.strategy_name} needs a key-value cache; leave use_cache=True")
        return batch.clone(rows)

    def resume(self, branches: Sequence[Branch]) -> DecodeBatch:
        """A batch of branchable branches, ready to be sampled from; their last ids are not read."""
        caches = [branch.cache for branch in branches if branch.cache is not None]
        ids = [branch.ids for branch in branches if branch.ids is not None]
        padded, mask = pad_rows(ids, side="left", value=self.pad_token_id)
        kwargs = {k: x for k, x in self._model_kwargs.items() if not isinstance(x, Tensor | Cache)}
        kwargs["past_key_values"] = stack_rows(caches, self.model.config)
        kwargs["attention_mask"] = None if bool(mask.all()) else mask
        if self._model_kwargs.get("position_ids") is not None:
            last = torch.tensor([branch.position for branch in branches], device=padded.device)
            offsets = torch.arange(1 - padded.shape[1], 1, device=padded.device)
            kwargs["position_ids"] = (last[:, None] + offsets).clamp(min=0)
        if self._model_kwargs.get("token_type_ids") is not None:
            kwargs["token_type_ids"] = torch.zeros_like(padded)
        return DecodeBatch(padded, kwargs, None, [x.remaining_tokens for x in branches])

    def as_branches(self, prompts: DecodeBatch) -> list[Branch]:
        """The prompts as branches without new tokens.

        Args:
            prompts: the batch that ``prefill`` returned.
        """
        cache = prompts.model_kwargs["past_key_values"]
        positions = prompts.model_kwargs.get("position_ids")
        empty = self.prompt_ids.new_zeros(0)
        width = prompts.ids.shape[1]
        return [
            Branch(
                empty,
                finished=False,
                stopped=False,
                remaining_tokens=remaining,
                ids=ids,
                cache=take_row(cache, k, width - len(ids), -1),
                # After prefill, position_ids already hold the position of the next token.
                position=0 if positions is None else int(positions[k, -1]) - 1,
            )
            for k, remaining in enumerate(prompts.remaining_tokens)
            for ids in [self.unpadded_prompt(k)]
        ]

    def append_context(
        self, branches: Sequence[Branch], contexts: Sequence[Tensor]
    ) -> list[Branch]:
        """Append ids that the model reads but did not generate; they are no part of its answer.

        Args:
            branches: branchable branches.
            contexts: ids (t,) int64 to append to each, possibly none.
        """
        # The last id of a branch is not in its cache, for ``resume`` reads it. So a context of k
        # ids takes k reads as well: the id before it and all but the last of its own.
        unread: dict[int, Tensor] = {}
        caches: list[RowCache] = []
        for k, (branch, ids) in enumerate(zip(branches, contexts, strict=True)):
            if len(ids) and branch.ids is not None and branch.cache is not None:
                unread[k] = torch.cat([branch.ids[-1:], ids[:-1]])
                caches.append(branch.cache)
        if not unread:
            return list(branches)
        has_positions = self._model_kwargs.get("position_ids") is not None
        batch = build_row_batch(
            self.model.config,
            caches,
            list(unread.values()),
            [branches[k].position for k in unread] if has_positions else None,
        )
        self.model.base_model(**batch.inputs)
        self.cost += Cost(prefill=sum(len(ids) for ids in unread.values()))
        extended = list(branches)
        for row, (k, span) in enumerate(zip(unread, batch.spans, strict=True)):
            branch = branches[k]
            assert branch.ids is not None
            extended[k] = replace(
                branch,
                ids=torch.cat([branch.ids, contexts[k]]),
                cache=take_row(batch.cache, row, span.start, span.stop),
                position=branch.position + len(contexts[k]),
            )
        return extended

    def pack(self, rows: Sequence[tuple[int, Tensor]]) -> LongTensor:
        """Prompts with continuations, padded on the right.

        Args:
            rows: (prompt index, new ids (t,)) of each row to return.

        Returns:
            (len(rows), t) int64, each row beginning with its prompt as it was passed in.
        """
        packed, _ = pad_rows([ids for _, ids in rows], side="right", value=self.pad_token_id)
        sequences = torch.cat([self.prompt_ids[[row for row, _ in rows]], packed], dim=1)
        return cast(LongTensor, sequences)  # int64, which torch's stubs do not know

    def _forward(self, ids: Tensor, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One forward pass over the last id of each row: next logits (r, v), updated kwargs."""
        inputs = self.model.prepare_inputs_for_generation(ids, next_sequence_length=1, **kwargs)
        outputs = self.model(**inputs, return_dict=True)
        self.cost += Cost(decode=len(ids))
        return self._last_logits(outputs), self._updated(outputs, kwargs)

    def _updated(self, outputs: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        return self.model._update_model_kwargs_for_generation(outputs, kwargs)

    def _last_logits(self, outputs: Any) -> Tensor:
        return outputs.logits[:, -1].to(
            copy=True, dtype=torch.float32, device=self.prompt_ids.device
        )


def _validate(
    strategy_name: str,
    model: PreTrainedModel,
    input_ids: Tensor,
    config: GenerationConfig,
    kwargs: dict[str, Any],
) -> None:
    """Raise if a ``generate`` call asks for something that a strategy cannot do.

    Args:
        strategy_name: the strategy's class name, for error messages.
        model: the generator.
        input_ids: (b * k, t) int64, each prompt k = ``num_return_sequences`` times.
        config: the prepared generation config.
        kwargs: the model kwargs that ``generate`` prepared.

    Raises:
        ValueError: the model is no decoder-only model, or the prompts, the options or the cache are
            not supported.
    """
    if model.config.is_encoder_decoder:
        raise ValueError(
            f"{strategy_name} works on decoder-only models; got {type(model).__name__}"
        )
    _check_options(strategy_name, config)
    if kwargs.get("inputs_embeds") is not None:
        raise ValueError(
            f"{strategy_name} reads the prompt's tokens; pass input_ids, not inputs_embeds"
        )
    mask, max_length = kwargs.get("attention_mask"), int(config.max_length)
    check_prompts(strategy_name, model, input_ids, mask, max_length)
    use_cache = kwargs.get("use_cache", True)
    check_selectable(kwargs.get("past_key_values"), use_cache, strategy_name)


def _check_options(strategy_name: str, config: GenerationConfig) -> None:
    """Raise if the config asks for another decoding method, or for outputs that are not kept."""
    if (config.num_beams or 1) > 1:
        raise ValueError(
            f"{strategy_name} does its own search; got num_beams={config.num_beams}, allowed is 1. "
            "Drop num_beams, or pass StepSearch(beam_width=...) for a beam over steps"
        )
    for name, method in _OTHER_METHODS.items():
        if value := getattr(config, name, None):
            raise ValueError(
                f"{strategy_name} samples by itself; got {name}={value!r}, which asks for {method} "
                f"and would be ignored. Drop {name}, or custom_generate"
            )
    copies = config.num_return_sequences
    if copies is not None and copies < 1:
        raise ValueError(f"got num_return_sequences={copies}; need at least 1")
    for name in _PER_TOKEN_OUTPUTS:
        if getattr(config, name, None):
            raise ValueError(
                f"{strategy_name} does not keep per-token {name.removeprefix('output_')}; got "
                f"{name}=True. Drop it: ReasoningOutput.traces has the candidates and their scores"
            )
