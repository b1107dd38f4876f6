"""Logits processors and stopping criteria, called as plain ``generate`` would call them.

``generate`` prepares one list of processors for one rectangular batch that grows by a column a
token. A strategy copies rows, selects them, and goes on from some of them later. So a processor
that holds one entry a row is given the entries of the rows at hand; one that counts columns sees
each row as wide as plain ``generate`` would have it, so rows of different widths are called apart;
and one that keeps a state for each row gets that state back when a branch goes on.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.generation import logits_process as hf
from transformers.generation.stopping_criteria import MaxTimeCriteria

from reason_decode.generation.row_state import FOLLOWERS, Follower, Guidance, Processor, Row
from reason_decode.io.oom import is_out_of_memory
from reason_decode.models.inputs import pad_rows

__all__ = ["ProcessorFactory", "RowProcessors", "RowView"]

ProcessorFactory = Callable[[], Sequence[Processor]]
"""Makes the logits processors of one row; see ``Strategy.__call__``."""

# generate() puts these behind the processors of the caller.
_LAST = (
    hf.TemperatureLogitsWarper,
    hf.TopHLogitsWarper,
    hf.TopKLogitsWarper,
    hf.TopPLogitsWarper,
    hf.MinPLogitsWarper,
    hf.TypicalLogitsWarper,
    hf.EpsilonLogitsWarper,
    hf.EtaLogitsWarper,
    hf.WatermarkLogitsProcessor,
    hf.SynthIDTextWatermarkLogitsProcessor,
    hf.LogitNormalization,
)
# These look at the scores alone, so one call serves rows of all widths.
_WITHOUT_IDS = (
    *(kind for kind in _LAST if "Watermark" not in kind.__name__),
    hf.InfNanRemoveLogitsProcessor,
    hf.SuppressTokensLogitsProcessor,
)


class RowProcessors:
    """The logits processors and stopping criteria of one call of ``generate``.

    Args:
        strategy_name: the strategy's class name, for error messages.
        prompt_ids: (b, t) int64, the prompts as the caller padded them.
        copies: number of rows that ``generate`` made of each prompt: ``num_return_sequences``.
        processors: the prepared logits processors.
        criteria: the stopping criteria, without the maximum length.
        factory: makes further processors for each row; they see one row, in order, and are called
            in front of the sampling options (temperature, top-k, ...).
        pad_token_id: fills rows up on the left.

    Attributes:
        tokens_read: tokens that processors have sent through the generator (guidance).

    Raises:
        ValueError: a processor has another number of rows than the call, or the factory does not
            return a list of processors.
    """

    def __init__(
        self,
        strategy_name: str,
        prompt_ids: Tensor,
        copies: int,
        processors: Sequence[Any],
        criteria: Sequence[Any],
        factory: ProcessorFactory | None = None,
        pad_token_id: int = 0,
    ) -> None:
        self.strategy_name, self.prompt_ids, self.criteria = strategy_name, prompt_ids, criteria
        self.pad_token_id = pad_token_id
        self.factory, self.tokens_read = factory, 0
        counts = (len(prompt_ids), len(prompt_ids) * copies)
        self.processors = list(processors)
        self.followers = [self._follower_of(p, counts) for p in processors]
        self.own_place = len(processors)
        while self.own_place and isinstance(processors[self.own_place - 1], _LAST):
            self.own_place -= 1
        self._foreign = [p for p in processors if _is_foreign(p)]
        self._before: list[dict[str, Any]] | None = None
        self._changed = ""
        self.bind([Row(k, prompt_ids.new_zeros(0), {}) for k in range(len(prompt_ids))])
        self.own()

    @property
    def guided(self) -> bool:
        """True if a processor runs the generator a second time (``guidance_scale``)."""
        return any(isinstance(follower, Guidance) for follower in self.followers)

    def bind(self, rows: Sequence[Row]) -> list[Any]:
        """The call's processors as they are for some rows of equal width."""
        return [
            processor
            if follower is None
            else follower.bind([Row(x.prompt, x.answer, {0: x.states.get(k)}) for x in rows])
            for k, (processor, follower) in enumerate(
                zip(self.processors, self.followers, strict=True)
            )
        ]

    def own(self) -> list[Processor]:
        """New processors for one row, made by the factory."""
        if self.factory is None:
            return []
        made: Any = self.factory() if callable(self.factory) else None
        if isinstance(made, str) or not (
            isinstance(made, Sequence) and all(callable(p) for p in made)
        ):
            raise ValueError(
                f"got processors={self.factory!r:.80}; pass a function without arguments that "
                "returns a list of new logits processors: processors=lambda: [Mine()]"
            )
        return list(made)

    def start_run(self) -> None:
        """Raise if a processor has shown a state of its own in an earlier run.

        Its state would belong to other rows than those of this run.
        """
        if self._changed:
            raise ValueError(
                f"{self.strategy_name} branches, and got the logits processor {self._changed}, so "
                "it keeps a state of its own, which belongs to none of the rows that go on. Pass a "
                "function that makes one for each row: generate(..., processors=lambda: [...])"
            )
        self._before = None

    def watch(self) -> None:
        """Note which of the caller's processors change between two calls of a run.

        A change by the first call does not count: it may be something that is set up once.
        """
        if self._changed or not self._foreign:
            return
        now = [_attributes(p) for p in self._foreign]
        for processor, old, new in zip(self._foreign, self._before or now, now, strict=True):
            changed = [x for x in new if x not in old or not _same(old[x], new[x])]
            if changed:
                self._changed = f"{_class_name(processor)}, whose {changed[0]!r} changes by calls"
        self._before = now

    def call(self, processor: Processor, ids: Tensor, scores: Tensor) -> Tensor:
        """``processor(ids, scores)``; an error names the processor."""
        try:
            return processor(ids, scores)
        except Exception as error:
            raise self._named(processor, "logits processor", ids, error) from error

    def finished(self, criterion: Any, ids: Tensor) -> Tensor:
        """``criterion(ids, None)``; an error names the criterion."""
        try:
            return torch.as_tensor(criterion(ids, None), device=ids.device)
        except Exception as error:
            raise self._named(criterion, "stopping criterion", ids, error) from error

    def _named(self, owner: object, kind: str, ids: Tensor, error: Exception) -> Exception:
        """The error of a processor with its name; errors of the caller's own kinds stay."""
        ours = _is_ours(owner)
        plain = type(error).__module__ == "builtins" and not isinstance(error, Warning)
        if ours or not plain or is_out_of_memory(error):
            return error
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return ValueError(
            f"{self.strategy_name} called the {kind} {_class_name(owner)} for {len(ids)} rows of "
            f"{ids.shape[1]} tokens, and it failed ({reason}). One that keeps a state of its own, "
            "or an entry for each row, does not fit rows that are copied and dropped: pass a "
            "function that makes one for each row, generate(..., processors=lambda: [...])"
        )

    def _follower_of(self, processor: Any, counts: tuple[int, int]) -> Follower | None:
        for kind, follower in FOLLOWERS.items():
            if isinstance(processor, kind):
                return follower(processor, counts, self._count)
        return None

    def _count(self, tokens: int) -> None:
        self.tokens_read += tokens


class RowView:
    """The rows of a running batch as plain ``generate`` would hold them.

    Args:
        processors: those of the call.
        rows: the rows.
    """

    def __init__(self, processors: RowProcessors, rows: Sequence[Row]) -> None:
        processors.start_run()
        self.processors, self.rows = processors, rows
        widths: dict[int, list[int]] = {}
        for k, row in enumerate(rows):
            widths.setdefault(len(row.answer), []).append(k)
        self.groups = [_Group(processors, rows, places) for places in widths.values()]
        self._places = {
            row: (group, k) for group in self.groups for k, row in enumerate(group.places)
        }
        self._own: list[list[Processor]] | None = None

    def scores(self, logits: Tensor, live: Sequence[int]) -> Tensor:
        """The scores of the next token of every row.

        Args:
            logits: (r, v) float32; may be changed.
            live: the rows that have not ended; the scores of others mean nothing.
        """
        processors = self.processors
        if self._own is None:
            self._own = [self._made_for(row, logits) for row in self.rows]
        scores = logits
        for place in range(len(processors.processors) + 1):
            if place == processors.own_place:
                scores = self._with_own(scores, live)
            if place < len(processors.processors):
                scores = self._with(place, scores)
        processors.watch()
        return scores

    def append(self, column: Tensor) -> None:
        """Add a token to every row; (r,) int64."""
        for group in self.groups:
            group.ids = torch.cat([group.ids, column[group.places, None]], dim=1)

    def finished(self) -> tuple[list[bool], bool]:
        """For each row whether a criterion has finished it; and whether the time is up."""
        device = self.groups[0].ids.device
        finished = torch.zeros(len(self.rows), dtype=torch.bool, device=device)
        timed_out = False
        for criterion in self.processors.criteria:
            for places, fired in self._fired(criterion):
                if isinstance(criterion, MaxTimeCriteria):
                    timed_out = timed_out or bool(fired.all())
                else:
                    finished[places] |= fired
        return finished.tolist(), timed_out

    def _fired(self, criterion: Any) -> list[tuple[list[int], Tensor]]:
        """The answers of a criterion for the rows of each width.

        One that has an entry for each row, such as lm-evaluation-harness's, fails for a part of
        them: it is asked about all rows at once, padded.
        """
        call = self.processors.finished
        try:
            return [(group.places, call(criterion, group.ids)) for group in self.groups]
        except ValueError as error:
            if len(self.groups) == 1 or not _is_foreign(criterion):
                raise
            try:
                return [(list(range(len(self.rows))), call(criterion, self._padded_ids()))]
            except ValueError:
                raise error from error.__cause__

    def _padded_ids(self) -> Tensor:
        """The ids of all rows, padded on the left to the longest."""
        rows = {k: ids for x in self.groups for k, ids in zip(x.places, x.ids, strict=True)}
        ids = [rows[k] for k in range(len(self.rows))]
        return pad_rows(ids, side="left", value=self.processors.pad_token_id)[0]

    def continued(self, row: int, answer: Tensor) -> Row:
        """The row with its answer so far, and what its processors keep for it."""
        group, place = self._places[row]
        states = {
            k: state
            for k, follower in enumerate(self.processors.followers)
            if follower is not None and (state := follower.state(group.bound[k], place)) is not None
        }
        return Row(self.rows[row].prompt, answer, states)

    def _with(self, place: int, scores: Tensor) -> Tensor:
        """Scores after one of the call's processors."""
        call, first = self.processors.call, self.groups[0]
        processor = first.bound[place]
        if len(self.groups) == 1 or isinstance(processor, _WITHOUT_IDS):
            return call(first.bound[place], first.ids, scores)
        if _is_ours(processor):
            # They look through the padding, and know a row again by what they saw a call before.
            return call(processor, self._padded_ids(), scores)
        parts = [call(x.bound[place], x.ids, scores[x.places]) for x in self.groups]
        for group, part in zip(self.groups, parts, strict=True):
            scores[group.places] = part
        return scores

    def _with_own(self, scores: Tensor, live: Sequence[int]) -> Tensor:
        """Scores after the processors that single rows have of their own."""
        for row in live if self._own else ():
            group, k = self._places[row]
            for processor in self._own[row] if self._own else ():
                ids, own = group.ids[k : k + 1], scores[row : row + 1].clone()
                scores[row] = self.processors.call(processor, ids, own)[0]
        return scores

    def _made_for(self, row: Row, logits: Tensor) -> list[Processor]:
        """New processors of a row, in the state that they have after its answer so far."""
        own = self.processors.own()
        if own and len(row.answer):
            # They are made anew and called again: the state of many cannot be copied.
            ids = torch.cat([self.processors.prompt_ids[row.prompt], row.answer])[None]
            for end in range(ids.shape[1] - len(row.answer), ids.shape[1]):
                for processor in own:
                    self.processors.call(processor, ids[:, :end], torch.zeros_like(logits[:1]))
        return own


class _Group:
    """Rows of a view that have the same width, and the processors as these rows see them."""

    def __init__(self, processors: RowProcessors, rows: Sequence[Row], places: list[int]) -> None:
        own = [rows[k] for k in places]
        self.places = places
        ids = [torch.cat([processors.prompt_ids[row.prompt], row.answer]) for row in own]
        self.ids = torch.stack(ids)
        self.bound = processors.bind(own)


def _is_ours(processor: object) -> bool:
    return type(processor).__module__.startswith("reason_decode.")


def _is_foreign(processor: object) -> bool:
    """True for the caller's own processors, of whose state nothing is known."""
    return not _is_ours(processor) and not type(processor).__module__.startswith("transformers.")


def _class_name(processor: object) -> str:
    return f"{type(processor).__module__}.{type(processor).__qualname__}"


def _attributes(processor: object) -> dict[str, Any]:
    """The attributes of a processor, with the lengths of its lists, sets and dictionaries."""
    sized = (list, dict, set)
    return {
        name: (x, len(x) if isinstance(x, sized) else None)
        for name, x in getattr(processor, "__dict__", {}).items()
    }


def _same(old: tuple[Any, Any], new: tuple[Any, Any]) -> bool:
    plain = (bool, int, float, str, bytes)
    equal = isinstance(new[0], plain) and type(old[0]) is type(new[0]) and old[0] == new[0]
    return (old[0] is new[0] or equal) and old[1] == new[1]
