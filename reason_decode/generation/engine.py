"""The decoding engine of a model in this process: prefill, sampling and branching.

``generate(custom_generate=strategy)`` hands a strategy prepared logits processors, stopping
criteria and a key-value cache. ``LocalGeneration`` turns them into the operations that strategies
are made of (``interface.Generation``): read the prompts, sample, branch, go on from some branches.

A branch goes on from a copy of its cache. Where a model's state cannot be copied row by row (a
cache class of its own, or none), it is read again, and rows that have ended stay in the batch.

This is the only file that calls transformers' private generation API (tested with 5.18 and 5.23).
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import LongTensor, Tensor
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteriaList,
)
from transformers.cache_utils import Cache
from transformers.generation.logits_process import PrefixConstrainedLogitsProcessor
from transformers.generation.stopping_criteria import MaxLengthCriteria
from transformers.generation.streamers import BaseStreamer

from reason_decode.core.solutions import Cost
from reason_decode.core.splitting import Boundary
from reason_decode.generation.cache import (
    check_branchable,
    check_cache,
    clone_cache,
    has_rows,
    is_filled,
    is_recurrent,
    preallocate_cache,
    retain_sliding_window_history,
    row_bytes,
    stack_rows,
)
from reason_decode.generation.context import append_context, as_branches
from reason_decode.generation.parts import fitting_rows, sample_in_parts
from reason_decode.generation.rereading import (
    check_can_reread,
    places_by_width,
    trimmed,
    warn_of_rereading,
)
from reason_decode.generation.row_processors import ProcessorFactory, RowProcessors
from reason_decode.generation.row_state import AllowedTokens, Row
from reason_decode.generation.sampling import (
    Branch,
    DecodeBatch,
    Decoder,
    check_options,
    continued_inputs,
    sample_branches,
    select_rows,
)
from reason_decode.generation.streaming import AnswerStream
from reason_decode.io.oom import is_out_of_memory, release_memory
from reason_decode.models.inputs import check_prompts, pad_rows

__all__ = ["LocalGeneration"]

_MOST_ROWS = 256
"""Rows side by side in the generator, where the caller says nothing: more are hardly faster."""
_SMALL = 2**26
"""Bytes that the caches of all rows may take before anyone asks how much memory is free."""


class LocalGeneration:
    """A ``Generation`` by a model in this process; see ``interface.Generation``.

    Args:
        strategy_name: the strategy's class name, for error messages.
        model: a decoder-only model.
        input_ids: (b * k, t) int64, padded on the left, with k = ``num_return_sequences``.
        processors: the prepared logits processors.
        criteria: the prepared stopping criteria.
        config: the prepared generation config.
        kwargs: the model kwargs that ``generate`` passes to a decoding method.
        streamer: receives the answer's tokens as soon as they are decided.
        factory: makes further logits processors for each row; see ``RowProcessors``.
        batch_rows: rows sampled side by side; ``None``: 256, or as many as memory holds.

    Attributes:
        keep_stats: whether branches hold statistics of their tokens; set by strategies.

    Raises:
        ValueError: the call asks for what a strategy cannot do; raised before any forward pass.
    """

    keep_stats = False

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
        factory: ProcessorFactory | None = None,
        batch_rows: int | None = None,
    ) -> None:
        _check_model(strategy_name, model)
        check_options(strategy_name, config)
        if kwargs.get("inputs_embeds") is not None:
            raise ValueError(
                f"{strategy_name} reads the prompt's tokens; pass input_ids, not inputs_embeds"
            )
        mask, max_length = kwargs.get("attention_mask"), int(config.max_length)
        check_prompts(strategy_name, model, input_ids, mask, max_length)
        check_cache(strategy_name, kwargs)
        self.strategy_name, self.config = strategy_name, config
        # Any: transformers' stubs lack the generation methods of models.
        self.model: Any = model
        self.num_return_sequences = config.num_return_sequences or 1
        self.stream = None
        if streamer is not None:
            self.stream = AnswerStream(strategy_name, streamer, len(input_ids))
        # generate() repeats each prompt num_return_sequences times.
        once = torch.arange(0, len(input_ids), self.num_return_sequences)
        self.prompt_ids = input_ids[once]
        self._model_kwargs = {
            name: select_rows(name, x, once, len(input_ids)) for name, x in kwargs.items()
        }
        caches = {name: x for name, x in self._model_kwargs.items() if isinstance(x, Cache)}
        self._cache_name = next(iter(caches), "")
        self._copies_rows = bool(caches) and all(map(has_rows, caches.values()))
        for name, cache in caches.items():
            if is_filled(cache):
                # The caller may use this cache again, so it must not change.
                self._model_kwargs[name] = clone_cache(cache)
        self.pad_token_id = int(config._pad_token_tensor or 0)
        self.processors = RowProcessors(
            strategy_name,
            self.prompt_ids,
            self.num_return_sequences,
            [
                AllowedTokens(x._prefix_allowed_tokens_fn)
                if type(x) is PrefixConstrainedLogitsProcessor
                else x
                for x in processors
            ],
            # It compares the width of the batch; each row has a budget of its own here.
            [x for x in criteria if not isinstance(x, MaxLengthCriteria)],
            factory,
            self.pad_token_id,
        )
        self.max_new_tokens = max_length - input_ids.shape[1]
        self.batch_rows, self.cost = batch_rows, Cost()

    @property
    def do_sample(self) -> bool:
        """True if tokens are drawn; false: the likeliest one is taken."""
        return bool(self.config.do_sample)

    def unpadded_prompt(self, row: int) -> Tensor:
        """Token ids of a prompt without padding, (t,) int64."""
        ids, mask = self.prompt_ids[row], self._model_kwargs.get("attention_mask")
        return ids if mask is None else ids[mask[row].bool()]

    def prefill(self, branchable: bool = False, croppable: bool = False) -> DecodeBatch:
        """Read every prompt once; or nothing yet, if the model's state cannot be copied.

        Args:
            branchable: branches that can be continued will be asked for.
            croppable: ``as_branches`` will be called: the state must go back by one token.

        Raises:
            ValueError: the caller's cache or options do not let it be branched.
        """
        batch = DecodeBatch(
            [Row(k, ids.new_zeros(0), {}) for k, ids in enumerate(self.prompt_ids)],
            self.prompt_ids,
            {name: x for name, x in self._model_kwargs.items() if not isinstance(x, Cache)},
            None,
            [self.max_new_tokens] * len(self.prompt_ids),
            [self.prompt_ids.shape[1]] * len(self.prompt_ids),
        )
        cache: Any = self._model_kwargs.get(self._cache_name)
        if self._copies_rows and not (croppable and is_recurrent(cache)):
            if branchable:
                retain_sliding_window_history(cache)
                check_branchable(cache, self.strategy_name)
            read = self._read(batch, cache)
            if is_filled(cache):
                return read
        self._copies_rows = False
        if branchable:
            check_can_reread(self.strategy_name, self.model, self.processors.guided)
        return batch

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
        More rows than ``batch_rows``, or than memory holds, are sampled one part after the other.

        Args:
            batch: the rows to continue; used up, unless it is that of ``prefill``.
            n: continuations a row.
            boundary: given the new tokens of a continuation, true if it pauses after them.
            branchable: keep what is needed to continue each branch.
            greedy: take the best-scored token even if the call has ``do_sample=True``.

        Returns:
            ``len(batch.ids) * n`` branches, those of a row next to each other.

        Raises:
            ValueError: scores are NaN or infinite, or the caller's cache cannot be branched.
            torch.OutOfMemoryError: memory does not suffice for one row.
        """
        most, count = self.batch_rows or _MOST_ROWS, len(batch.rows) * n
        small = False
        if batch.is_read:
            cache, new_tokens = batch.model_kwargs[self._cache_name], max(batch.remaining_tokens)
            small = count <= most and count * row_bytes(cache, new_tokens) <= _SMALL
            if not small and self.batch_rows is None:
                most = fitting_rows(cache, new_tokens, most)
            if batch.logits is None and n > 1 and len(batch.rows) <= most:
                batch = self._read_last(batch)
        elif n > 1 and not branchable:
            what = f"each prompt is read {n} times"
            warn_of_rereading(self.strategy_name, self.model, what)

        def sample(places: Sequence[int]) -> list[Branch]:
            rows = batch.select([place // n for place in places])
            return self._sample_once(rows, boundary, branchable, greedy)

        if small:
            try:
                return self._counted(sample(range(count)))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # After the handler: its traceback keeps the tensors of the failed attempt alive.
            release_memory()
            self.batch_rows = most = (count + 1) // 2  # in later rounds, too
        groups = [range(count)] if batch.is_read else places_by_width(batch, n)
        branches, held = sample_in_parts(sample, groups, most, self.strategy_name)
        if held < most:
            self.batch_rows = held
        return self._counted(branches)

    def _counted(self, branches: list[Branch]) -> list[Branch]:
        """The branches, whose tokens are added to the cost."""
        guidance, self.processors.tokens_read = self.processors.tokens_read, 0
        sampled = sum(len(branch.tokens) for branch in branches)
        self.cost += Cost(decode=guidance, sampled=sampled)
        return branches

    def _sample_once(
        self, rows: DecodeBatch, boundary: Boundary | None, branchable: bool, greedy: bool
    ) -> list[Branch]:
        rows = rows if rows.is_read else self._read(trimmed(rows), None)
        rows = rows if rows.logits is not None else self._read_last(rows)
        if self._copies_rows:
            preallocate_cache(rows.model_kwargs[self._cache_name])
            if branchable:
                check_branchable(rows.model_kwargs[self._cache_name], self.strategy_name)
        decoder = Decoder(
            self.strategy_name,
            self.processors,
            self.do_sample and not greedy,
            self.pad_token_id,
            self._forward,
            self._copies_rows,
            self.keep_stats,
        )
        return sample_branches(decoder, rows, boundary, branchable)

    def resume(self, branches: Sequence[Branch]) -> DecodeBatch:
        """A batch of branchable branches, ready to be sampled from; their last ids are not read."""
        rows = [branch.row for branch in branches if branch.row is not None]
        ids = [branch.ids for branch in branches if branch.ids is not None]
        caches = [branch.cache for branch in branches if branch.cache is not None]
        positions = [branch.position for branch in branches if branch.position is not None]
        padded, mask = pad_rows(ids, side="left", value=self.pad_token_id)
        if not self._copies_rows:  # ids that are read again keep the padding of their prompt
            for k, row in enumerate(rows):
                own = self.prompt_ids.shape[1] - len(self.unpadded_prompt(row.prompt))
                mask[k, : padded.shape[1] - len(ids[k]) + own] = 0
        kwargs = continued_inputs(
            self._model_kwargs,
            mask,
            [row.prompt for row in rows],
            [len(self.unpadded_prompt(row.prompt)) for row in rows],
            torch.stack(positions, dim=-1) if positions else None,
        )
        if self._copies_rows:
            kwargs[self._cache_name] = stack_rows(caches, self.model.config)
        remaining = [branch.remaining_tokens for branch in branches]
        widths = None if self._copies_rows else [*map(len, ids)]
        return DecodeBatch(rows, padded, kwargs, None, remaining, widths)

    def as_branches(self, prompts: DecodeBatch) -> list[Branch]:
        """The batch of ``prefill(croppable=True)`` as branches without new tokens."""
        return as_branches(self, prompts)

    def append_context(
        self, branches: Sequence[Branch], contexts: Sequence[Tensor]
    ) -> list[Branch]:
        """The branches with ids (t,) behind each that are read, but are no part of its answer."""
        return append_context(self, branches, contexts)

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

    def _read(self, batch: DecodeBatch, cache: Cache | None) -> DecodeBatch:
        """The batch after its ids were read into a cache; ``None``: into a new one."""
        kwargs = dict(batch.model_kwargs)
        if self._cache_name:
            config = self.model.config.get_text_config(decoder=True)
            kwargs[self._cache_name] = DynamicCache(config=config) if cache is None else cache
        outputs = self.model._prefill(batch.ids, self.config, kwargs)
        mask = kwargs.get("attention_mask")
        self.cost += Cost(prefill=batch.ids.numel() if mask is None else int(mask.sum()))
        logits, kwargs = self._outcome(outputs, kwargs)
        return DecodeBatch(batch.rows, batch.ids, kwargs, logits, batch.remaining_tokens)

    def _read_last(self, batch: DecodeBatch) -> DecodeBatch:
        """The batch after the last id of each row was read."""
        logits, kwargs = self._forward(batch.ids, batch.model_kwargs)
        return DecodeBatch(batch.rows, batch.ids, kwargs, logits, batch.remaining_tokens)

    def _forward(self, ids: Tensor, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One forward pass over the last id of each row: next logits (r, v), updated kwargs."""
        length = 1 if kwargs.get("use_cache", True) else None
        inputs = self.model.prepare_inputs_for_generation(
            ids, next_sequence_length=length, **kwargs
        )
        outputs = self.model(**inputs, return_dict=True)
        self.cost += Cost(decode=inputs["input_ids"].numel())
        return self._outcome(outputs, kwargs)

    def _outcome(self, outputs: Any, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """Logits (r, v) after the last id of each row, and the inputs of the next forward pass."""
        logits = outputs.logits[:, -1]
        return (
            logits.to(copy=True, dtype=torch.float32, device=self.prompt_ids.device),
            self.model._update_model_kwargs_for_generation(outputs, kwargs),
        )


def _check_model(strategy_name: str, model: PreTrainedModel) -> None:
    """Raise for an encoder-decoder, a model without weights, or one that switches its cache off."""
    if model.config.is_encoder_decoder:
        raise ValueError(
            f"{strategy_name} works on decoder-only models; got {type(model).__name__}"
        )
    # accelerate's hooks bring the weights of an offloaded model back when they are needed.
    offloaded = any("_hf_hook" in vars(module) for module in model.modules())
    if not offloaded and all(x.is_meta for x in model.parameters()):
        raise ValueError(
            f"{strategy_name} got a {type(model).__name__} on the meta device, which holds no "
            "numbers; load the weights, or call to_empty() and initialize them"
        )
    # transformers 5.23 renamed the property; the old name warns.
    kind: Any = type(model)
    new = hasattr(kind, "is_activation_checkpointing")
    name = "is_activation_checkpointing" if new else "is_gradient_checkpointing"
    if model.training and getattr(model, name):
        raise ValueError(
            f"{strategy_name} got a {type(model).__name__} in training mode with gradient "
            "checkpointing, which switches the key-value cache off and would read each token "
            "without those before it; call model.eval(), or model.gradient_checkpointing_disable()"
        )
