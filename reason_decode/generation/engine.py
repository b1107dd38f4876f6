"""The only file that touches transformers' private generation API (tried on 5.23).

``generate(custom_generate=strategy)`` hands a strategy prepared processors, criteria and a cache,
which ``Generation`` takes apart into what strategies need: read prompts, sample rows, branch them.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from transformers.generation.stopping_criteria import MaxLengthCriteria, MaxTimeCriteria
from transformers.generation.streamers import BaseStreamer

from reason_decode.core.records import Cost
from reason_decode.generation.cache import (
    RowCache,
    check_branchable,
    copied,
    keep_history,
    make_growing,
    read_rows,
    stack_rows,
    take_row,
)
from reason_decode.generation.streaming import Stream
from reason_decode.generation.validation import check_logits, validate_generate_call
from reason_decode.models.padding import pad_rows

Boundary = Callable[[Sequence[int]], bool]


@dataclass
class Rows:
    """A batch of trajectories: ids (r, t) padded on the left, what the model was told, next logits.

    ``logits`` (r, v) float32 are those after the last id, or ``None`` if it has not been read yet.
    ``room`` is how many more tokens each row may get.
    """

    ids: Tensor
    kwargs: dict[str, Any]
    logits: Tensor | None
    room: list[int]


@dataclass(frozen=True)
class Branch:
    """One sampled continuation of a row.

    Args:
        tokens: the new token ids, (t,) int64.
        finished: a stopping criterion of the caller (end of sequence, say) ended it.
        stopped: it cannot go on: finished, out of room, or out of time.
        ids: all ids without padding, (t,) int64; only of branches that can be continued.
        cache: keys and values of all ids but the last; likewise.
        position: position id of the last id; likewise.
        room: how many more tokens it may get.
    """

    tokens: Tensor
    finished: bool
    stopped: bool
    room: int
    ids: Tensor | None = None
    cache: RowCache | None = None
    position: int = 0


class Generation:
    """One call of ``generate``, taken apart.

    Args:
        need: the strategy's name, for messages.
        model: a decoder-only model.
        input_ids: (b * k, t) int64, padded on the left, k being ``num_return_sequences``.
        processors: the prepared logits processors.
        criteria: the prepared stopping criteria.
        config: the prepared generation config.
        kwargs: everything else that ``generate`` passes to a decoding method.
        streamer: told what is decided of the answer.

    Raises:
        ValueError: the call asks for what a strategy cannot do; raised before any forward pass.
    """

    def __init__(
        self,
        need: str,
        model: PreTrainedModel,
        input_ids: Tensor,
        processors: LogitsProcessorList,
        criteria: StoppingCriteriaList,
        config: GenerationConfig,
        kwargs: dict[str, Any],
        streamer: BaseStreamer | None = None,
    ) -> None:
        validate_generate_call(need, model, input_ids, config, kwargs)
        self.need, self.config = need, config
        # Any: transformers' models are typed without the generation methods that they have.
        self.model: Any = model
        # The stubs ask processors and criteria for a LongTensor, which no operation of torch is
        # said to return, and criteria for scores, which they can do without.
        self.processors = cast(Callable[[Tensor, Tensor], Tensor], processors)
        # MaxLengthCriteria looks at the width of the batch; rows here have budgets of their own.
        self.criteria = [
            cast(Callable[[Tensor, None], Tensor], criterion)
            for criterion in criteria
            if not isinstance(criterion, MaxLengthCriteria)
        ]
        self.copies = config.num_return_sequences or 1
        self.stream = Stream(need, streamer, len(input_ids))
        # generate() repeats a prompt num_return_sequences times; one row a prompt is enough here.
        self.prompt_ids = input_ids[:: self.copies]
        self._kwargs = {
            name: _pick_rows(x, slice(None, None, self.copies), len(input_ids))
            for name, x in kwargs.items()
        }
        cache = self._kwargs.get("past_key_values")
        if isinstance(cache, Cache) and cache.get_seq_length() > 0:
            self._kwargs["past_key_values"] = copied(cache)  # the caller's own stays theirs
        self.budget = int(config.max_length) - input_ids.shape[1]
        pad = config._pad_token_tensor
        self.pad = 0 if pad is None else int(pad)
        self.cost = Cost()

    def prompt_row(self, row: int) -> Tensor:
        """The ids of a prompt without padding, (t,) int64."""
        mask = self._kwargs.get("attention_mask")
        ids = self.prompt_ids[row]
        return ids if mask is None else ids[mask[row].bool()]

    def prefill(self, branch: bool = False) -> Rows:
        """Read every prompt once; ``branch`` if ``sample`` will be asked for branches."""
        kwargs = dict(self._kwargs)
        if branch:
            keep_history(kwargs["past_key_values"])
            check_branchable(kwargs["past_key_values"], self.need)
        outputs = self.model._prefill(self.prompt_ids, self.config, kwargs)
        mask = kwargs.get("attention_mask")
        read = self.prompt_ids.numel() if mask is None else int(mask.sum())
        self.cost += Cost(prefill=read)
        kwargs = self._updated(outputs, kwargs)
        room = [self.budget] * len(self.prompt_ids)
        return Rows(self.prompt_ids, kwargs, self._last_logits(outputs), room)

    def sample(
        self,
        rows: Rows,
        n: int,
        boundary: Boundary | None = None,
        branch: bool = False,
        greedy: bool = False,
    ) -> list[Branch]:
        """Sample n continuations of each row.

        Each runs until a stopping criterion, its room, or (if given) a boundary ends it; ended ones
        leave the batch and cost nothing more. With ``do_sample=False`` the likeliest token is taken
        each time.

        Args:
            rows: what to continue; used up by the call.
            n: continuations a row.
            boundary: given the new tokens of a continuation, whether it pauses here.
            branch: keep what is needed to continue each branch.
            greedy: take the likeliest token each time, whatever the call asks for.

        Returns:
            ``len(rows) * n`` branches, those of a row next to each other.
        """
        if rows.logits is None:
            rows = self._read_last(rows)
        if branch:
            check_branchable(rows.kwargs["past_key_values"], self.need)
        rows = _repeated(rows, n)
        make_growing(rows.kwargs["past_key_values"])
        return _Sampling(self, rows, boundary, branch, greedy).run()

    def copied(self, rows: Rows, keep: Sequence[int]) -> Rows:
        """Some of the rows, sharing nothing, so that they can be sampled from more than once.

        Raises:
            ValueError: they have no cache.
        """
        cache = rows.kwargs.get("past_key_values")
        if not isinstance(cache, Cache) or rows.logits is None:
            raise ValueError(f"{self.need} needs a cache here; leave use_cache=True")
        index, count = torch.tensor(keep, device=rows.ids.device), len(rows.ids)
        kwargs = {name: _pick_rows(x, index, count) for name, x in rows.kwargs.items()}
        kwargs["past_key_values"] = copied(cache)
        kwargs["past_key_values"].batch_select_indices(index)
        return Rows(rows.ids[index], kwargs, rows.logits[index], [rows.room[k] for k in keep])

    def resume(self, branches: Sequence[Branch]) -> Rows:
        """A batch of branches that were kept, ready to be sampled from again."""
        caches = [branch.cache for branch in branches if branch.cache is not None]
        ids = [branch.ids for branch in branches if branch.ids is not None]
        device = self.prompt_ids.device
        padded, mask = pad_rows(ids, side="left", value=self.pad)
        width = padded.shape[1]
        places = torch.arange(width, device=device)
        kwargs = {k: x for k, x in self._kwargs.items() if not isinstance(x, Tensor | Cache)}
        kwargs["past_key_values"] = stack_rows(caches, self.model.config)
        kwargs["attention_mask"] = None if bool(mask.all()) else mask
        if self._kwargs.get("position_ids") is not None:
            last = torch.tensor([branch.position for branch in branches], device=device)
            kwargs["position_ids"] = (places - (width - 1) + last[:, None]).clamp(min=0)
        if self._kwargs.get("token_type_ids") is not None:
            kwargs["token_type_ids"] = torch.zeros_like(padded)
        return Rows(padded, kwargs, None, [branch.room for branch in branches])

    def begun(self, rows: Rows) -> list[Branch]:
        """The prompts that were read, as branches."""
        cache = rows.kwargs["past_key_values"]
        positions = rows.kwargs.get("position_ids")
        empty = self.prompt_ids.new_zeros(0)
        width = rows.ids.shape[1]
        return [
            Branch(
                empty,
                False,
                False,
                room,
                ids=ids,
                cache=take_row(cache, k, width - len(ids), -1),
                # What was read has been counted on to the next token's place.
                position=0 if positions is None else int(positions[k, -1]) - 1,
            )
            for k, room in enumerate(rows.room)
            for ids in [self.prompt_row(k)]
        ]

    def tell(self, branches: Sequence[Branch], told: Sequence[Tensor]) -> list[Branch]:
        """Put ids behind branches that the model reads but did not say: no part of its answer.

        Args:
            branches: such as can be continued.
            told: ids (t,) int64 for each, possibly none.
        """
        new: dict[int, Tensor] = {}
        caches: list[RowCache] = []
        for k, (branch, ids) in enumerate(zip(branches, told, strict=True)):
            if len(ids) and branch.ids is not None and branch.cache is not None:
                # The last id of a branch has not been read yet, and of these none needs to be.
                new[k] = torch.cat([branch.ids[-1:], ids[:-1]])
                caches.append(branch.cache)
        if not new:
            return list(branches)
        shifted = self._kwargs.get("position_ids") is not None
        _, cache, places = read_rows(
            self.model.base_model,
            self.model.config,
            caches,
            list(new.values()),
            [branches[k].position for k in new] if shifted else None,
        )
        self.cost += Cost(prefill=sum(len(ids) for ids in new.values()))
        after = list(branches)
        for row, (k, place) in enumerate(zip(new, places, strict=True)):
            branch = branches[k]
            assert branch.ids is not None
            after[k] = replace(
                branch,
                ids=torch.cat([branch.ids, told[k]]),
                cache=take_row(cache, row, place.start, place.stop),
                position=branch.position + len(told[k]),
            )
        return after

    def pack(self, rows: Sequence[tuple[int, Tensor]]) -> LongTensor:
        """Prompts with continuations, padded on the right.

        Args:
            rows: (prompt index, new ids (t,)) of each row to return.

        Returns:
            (len(rows), t) int64, each row beginning with its prompt as it was passed in.
        """
        packed, _ = pad_rows([tokens for _, tokens in rows], side="right", value=self.pad)
        sequences = torch.cat([self.prompt_ids[[row for row, _ in rows]], packed], dim=1)
        return cast(LongTensor, sequences)  # int64, which torch's stubs do not follow

    def read(self, ids: Tensor, kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """One forward pass over the last id of each row: next logits (r, v), updated kwargs."""
        inputs = self.model.prepare_inputs_for_generation(ids, next_sequence_length=1, **kwargs)
        outputs = self.model(**inputs, return_dict=True)
        self.cost += Cost(decode=len(ids))
        return self._last_logits(outputs), self._updated(outputs, kwargs)

    def _read_last(self, rows: Rows) -> Rows:
        logits, kwargs = self.read(rows.ids, rows.kwargs)
        return Rows(rows.ids, kwargs, logits, rows.room)

    def _updated(self, outputs: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        return self.model._update_model_kwargs_for_generation(outputs, kwargs)

    def _last_logits(self, outputs: Any) -> Tensor:
        return outputs.logits[:, -1].to(
            copy=True, dtype=torch.float32, device=self.prompt_ids.device
        )


class _Sampling:
    """The loop of ``Generation.sample``: all rows keep their place, live ones go through the model.

    Processors, criteria and the random draw see every row, ended ones too, as in transformers' own
    loop; so a batch draws the same random numbers here as there, whoever ends first.
    """

    def __init__(
        self,
        generation: Generation,
        rows: Rows,
        boundary: Boundary | None,
        branch: bool,
        greedy: bool,
    ) -> None:
        self.generation, self.boundary, self.branch = generation, boundary, branch
        self.greedy = greedy or not generation.config.do_sample
        self.ids, self.kwargs, self.room = rows.ids, rows.kwargs, rows.room
        self.start = rows.ids.shape[1]
        mask = rows.kwargs.get("attention_mask")
        count = len(rows.ids)
        self.pads = [0] * count if mask is None else (mask == 0).sum(1).tolist()
        self.live = list(range(count))
        self.new: list[list[int]] = [[] for _ in range(count)]
        self.done: list[Branch | None] = [None] * count
        assert rows.logits is not None
        self.logits = rows.logits

    def run(self) -> list[Branch]:
        generation = self.generation
        while True:
            self._append(self._draw())
            self._remove_finished()
            if not self.live:
                return [branch for branch in self.done if branch is not None]
            self.logits, self.kwargs = generation.read(self.ids[self.live], self.kwargs)

    def _draw(self) -> Tensor:
        """The next token of every row, (r,) int64."""
        logits = self.logits
        if len(self.live) < len(self.ids):
            logits = logits.new_zeros(len(self.ids), logits.shape[-1])
            logits[self.live] = self.logits
        scores = self.generation.processors(self.ids, logits)
        if len(self.live) < len(self.ids):
            ended = [row for row in range(len(self.ids)) if self.done[row] is not None]
            scores[ended] = 0.0
        told = len(self.new[self.live[0]])
        if self.greedy:
            best = scores.argmax(dim=-1)
            check_logits(self.generation.need, scores.gather(1, best[:, None])[:, 0], told)
            return best
        shares = scores.softmax(dim=-1)
        # One share a row is enough: where a score is NaN or infinite, they all are NaN.
        check_logits(self.generation.need, shares[:, 0], told)
        return torch.multinomial(shares, num_samples=1).squeeze(1)

    def _append(self, tokens: Tensor) -> None:
        column = torch.full_like(tokens, self.generation.pad)
        column[self.live] = tokens[self.live]
        self.ids = torch.cat([self.ids, column[:, None]], dim=1)
        for row, token in zip(self.live, column[self.live].tolist(), strict=True):
            self.new[row].append(token)

    def _remove_finished(self) -> None:
        """Set aside the rows that ended with this token; the cache keeps only the others."""
        finished, timed_out = self._judge()
        going: list[int] = []
        ended: list[tuple[int, int, bool, int]] = []
        for place, row in enumerate(self.live):
            room = self.room[row] - len(self.new[row])
            stopped = finished[row] or timed_out or room <= 0
            if stopped or (self.boundary is not None and self.boundary(self.new[row])):
                ended.append((place, row, stopped, room))
            else:
                going.append(place)
        # Where most end at once the others move out, and views hold hardly more than copies would.
        copy = len(going) > len(ended)
        for place, row, stopped, room in ended:
            self.done[row] = self._branch(place, row, finished[row], stopped, room, copy)
        if going and len(going) < len(self.live):
            rows = torch.tensor(going, device=self.ids.device)
            self.kwargs["past_key_values"].batch_select_indices(rows)
            count = len(self.live)
            self.kwargs = {k: _pick_rows(x, rows, count) for k, x in self.kwargs.items()}
        self.live = [self.live[place] for place in going]

    def _judge(self) -> tuple[list[bool], bool]:
        """Which rows a criterion has finished, and whether time is up for all."""
        finished = torch.zeros(len(self.ids), dtype=torch.bool, device=self.ids.device)
        timed_out = False
        for criterion in self.generation.criteria:
            fired = torch.as_tensor(criterion(self.ids, None), device=self.ids.device)
            if isinstance(criterion, MaxTimeCriteria):
                timed_out = timed_out or bool(fired.all())
            else:
                finished |= fired
        return finished.tolist(), timed_out

    def _branch(
        self, place: int, row: int, finished: bool, stopped: bool, room: int, copy: bool
    ) -> Branch:
        self.generation.cost += Cost(sampled=len(self.new[row]))
        tokens = self.ids[row, self.start :]
        if stopped or not self.branch:
            return Branch(tokens, finished, stopped, room)
        pads = self.pads[row]
        positions = self.kwargs.get("position_ids")
        return Branch(
            tokens,
            finished,
            stopped,
            room,
            ids=self.ids[row, pads:],
            cache=take_row(self.kwargs["past_key_values"], place, pads, copy=copy),
            position=0 if positions is None else int(positions[place, -1]),
        )


def supports_4d_mask(model: PreTrainedModel) -> bool:
    """Whether a mask (b, 1, t, t) decides what a token sees, and position ids where it stands."""
    config: Any = model.config.get_text_config()
    window = getattr(config, "use_sliding_window", True) and getattr(config, "sliding_window", None)
    return (
        set(getattr(config, "layer_types", None) or []) <= {"full_attention"}
        and not (window or getattr(config, "alibi", False))
        and "position_ids" in inspect.signature(model.base_model.forward).parameters
        and config._attn_implementation in ("sdpa", "eager")
    )


def _repeated(rows: Rows, n: int) -> Rows:
    """Each row n times over, next to each other."""
    if n == 1:
        return rows
    count = len(rows.ids)
    cache = rows.kwargs["past_key_values"]
    cache.batch_repeat_interleave(n)
    index = torch.arange(count, device=rows.ids.device).repeat_interleave(n)
    kwargs = {name: _pick_rows(x, index, count) for name, x in rows.kwargs.items()}
    assert rows.logits is not None
    room = [space for space in rows.room for _ in range(n)]
    return Rows(rows.ids[index], kwargs, rows.logits[index], room)


def _pick_rows(x: Any, index: Any, count: int) -> Any:
    """Index the first dimension of what has one entry a row; leave everything else alone."""
    if isinstance(x, Tensor) and x.dim() > 0 and x.shape[0] == count:
        return x[index]
    return x
