"""Reading texts that share prefixes with a causal model: each token goes through it once.

A ``PrefixState`` is a text that has been read: its ids, its scores and its key-value cache. To read
a longer text, the reader compares the ids of both from the start, crops the cache after the last id
that they share, and sends only the other ids through the model. So it does not matter whether a
tokenizer merges tokens across the end of a step, or what a chat template appends to a turn: only
the ids that changed are read again. States are never changed, so a search may extend one state in
several ways, and drop others.

A recurrent model (Mamba), which cannot go back to an earlier id, reads each text from its start.
"""

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from reason_decode.generation.cache import (
    RowBatch,
    RowCache,
    build_row_batch,
    crop_row,
    has_rows,
    is_filled,
    is_recurrent,
    new_cache,
    take_row,
)
from reason_decode.models.inputs import (
    EncodedSolution,
    input_device,
    learned_positions,
    max_positions,
    pad_rows,
)
from reason_decode.scorers.causal_reader import CausalReader, Span

__all__ = ["PrefixReader", "PrefixState"]


class PrefixState(NamedTuple):
    """A text that a model has read.

    Attributes:
        encoded: its ids and scored spans.
        scores: the scores of its spans, float32 (s,).
        cache: keys and values of its ids; ``None`` if they were not kept.
        last_hidden: features of its last id, (c,); the next span may begin at this id.
    """

    encoded: EncodedSolution
    scores: Tensor
    cache: RowCache | None = None
    last_hidden: Tensor | None = None


_UNREAD = PrefixState(EncodedSolution([], []), torch.zeros(0))
"""The empty text, which every text extends."""


class _Extension(NamedTuple):
    """A text whose ids from ``start`` on are still to be read.

    ``scores``, ``cache`` and ``last_hidden`` belong to the ids before ``start``.
    """

    encoded: EncodedSolution
    scores: Tensor
    cache: RowCache | None
    last_hidden: Tensor | None
    start: int

    @property
    def new_ids(self) -> list[int]:
        return self.encoded.ids[self.start :]

    def spans(self, features: Tensor) -> list[Span]:
        """The spans that are still to be scored, given the features of the new ids, (t, c)."""
        first = self.start
        if self.last_hidden is not None:
            features, first = torch.cat([self.last_hidden[None], features]), first - 1
        return [
            Span(
                features[span.start - first : span.stop - first],
                self.encoded.ids[span.start + 1 : span.stop + 1],
            )
            for span in self.encoded.spans[len(self.scores) :]
        ]


class PrefixReader:
    """Reads texts with a causal model, extending what has been read before.

    Args:
        reader: the model with its layout.

    Attributes:
        tokens_read: tokens that went through the model so far.
        extends: the model goes on from a cache; if not, a warning says so.
    """

    def __init__(self, reader: CausalReader) -> None:
        self.reader, self.tokens_read, self.extends = reader, 0, True
        cache = new_cache(reader.model.config)
        if not has_rows(cache) or is_recurrent(cache):
            self._stop_extending()
        self._max_length = learned_positions(reader.model)
        self._positions = max_positions(reader.model)

    def read_prompts(self, prompts: Sequence[str]) -> list[PrefixState]:
        """The states of prompts without steps.

        Raises:
            ValueError: a prompt has no tokens.
        """
        encoded = [self.reader.encode(prompt, ()) for prompt in prompts]
        for prompt, text in zip(prompts, encoded, strict=True):
            if not text.ids:
                raise ValueError(f"got the prompt {prompt!r}, which has no tokens; pass some text")
        return self.read([_UNREAD] * len(encoded), encoded)

    def read(
        self,
        states: Sequence[PrefixState],
        encoded: Sequence[EncodedSolution],
        keep_cache: bool = True,
    ) -> list[PrefixState]:
        """The states of texts, each read as an extension of a state.

        Texts are read in batches of similar length.

        Args:
            states: for each text a state that shares its beginning.
            encoded: the texts.
            keep_cache: whether the new states can be extended.

        Raises:
            ValueError: a text is longer than the model's table of positions.
        """
        self._check_length(encoded)
        self._warn_of_length(encoded)
        extend = _extend if self.extends else _reread
        extensions = [extend(state, text) for state, text in zip(states, encoded, strict=True)]
        # A text without new ids has all its scores already.
        found = [
            PrefixState(
                x.encoded,
                x.scores,
                x.cache,
                state.last_hidden if x.start == len(state.encoded.ids) else None,
            )
            for x, state in zip(extensions, states, strict=True)
        ]
        # Where nothing is kept to go on from, a text without scores need not be read.
        lengths = [len(x.new_ids) * (self.extends or bool(x.encoded.spans)) for x in extensions]
        order = sorted((k for k in range(len(found)) if lengths[k]), key=lengths.__getitem__)
        while order:
            batch = [order.pop()]
            while order and self._fits([extensions[k] for k in [*batch, order[-1]]]):
                batch.append(order.pop())
            new = self._forward([extensions[k] for k in batch], keep_cache)
            for k, state in zip(batch, new, strict=True):
                found[k] = state
        return found

    def _check_length(self, encoded: Sequence[EncodedSolution]) -> None:
        longest = max((len(text.ids) for text in encoded), default=0)
        if self._max_length is not None and longest > self._max_length:
            raise ValueError(
                f"got a prompt with steps of {longest} tokens; {type(self.reader.model).__name__} "
                f"has a table of {self._max_length} positions and cannot read on: pass shorter "
                "texts, or a scorer that reads longer ones"
            )

    def _warn_of_length(self, encoded: Sequence[EncodedSolution]) -> None:
        """Warn if a span is scored past the positions that the model was made for."""
        limit = self._positions
        last = max(
            (text.score_positions[-1] for text in encoded if text.score_positions), default=0
        )
        if limit is not None and last >= limit:
            warnings.warn(
                f"{type(self.reader).__name__} scores steps past the {limit} positions that its "
                f"{type(self.reader.model).__name__} was made for; such scores mean little. Pass "
                "shorter texts, or a scorer that reads longer ones",
                stacklevel=2,
            )

    def _fits(self, extensions: Sequence[_Extension]) -> bool:
        """True if a batch, the longest first, stays within ``batch_tokens`` with its padding."""
        width = max(x.start for x in extensions) + len(extensions[0].new_ids)
        return len(extensions) * width <= self.reader.batch_tokens

    @torch.no_grad()
    def _forward(self, extensions: Sequence[_Extension], keep_cache: bool) -> list[PrefixState]:
        """One forward pass over the new ids of each text."""
        device = input_device(self.reader.model)
        new = [torch.tensor(x.new_ids, device=device) for x in extensions]
        if not self.extends:
            ids, _ = pad_rows(new, side="right")
            features = self.reader.forward(input_ids=ids, use_cache=False)
            return self._states(extensions, features, None)
        caches = [x.cache for x in extensions if x.cache is not None]
        batch = build_row_batch(self.reader.model.config, caches, new)
        features = self.reader.forward(**batch.inputs)
        if not is_filled(batch.cache):
            self._stop_extending()
        return self._states(extensions, features, batch if keep_cache and self.extends else None)

    def _states(
        self, extensions: Sequence[_Extension], features: Tensor, batch: RowBatch | None
    ) -> list[PrefixState]:
        """The states after a forward pass, with what ``batch`` holds of them in their caches."""
        self.tokens_read += sum(len(x.new_ids) for x in extensions)
        spans = [x.spans(features[k, : len(x.new_ids)]) for k, x in enumerate(extensions)]
        flat = [span for own in spans for span in own]
        scores = self.reader.score_spans(flat).float().cpu() if flat else torch.zeros(0)
        states: list[PrefixState] = []
        for k, (x, new) in enumerate(
            zip(extensions, scores.split([*map(len, spans)]), strict=True)
        ):
            state = PrefixState(x.encoded, torch.cat([x.scores, new]))
            if batch is not None:
                row = take_row(batch.cache, k, batch.spans[k].start, batch.spans[k].stop)
                last_hidden = features[k, len(x.new_ids) - 1].clone()
                state = state._replace(cache=row, last_hidden=last_hidden)
            states.append(state)
        return states

    def _stop_extending(self) -> None:
        self.extends = False
        warnings.warn(
            f"got a {type(self.reader.model).__name__} as a scorer, which cannot go on from a "
            "cache: it reads each text from its beginning at every step, counted in cost.scorer",
            stacklevel=3,
        )


def _reread(state: PrefixState, encoded: EncodedSolution) -> _Extension:
    """All of a text, unless the state is that of the same text."""
    known = state.encoded == encoded and len(state.scores) == len(encoded.spans)
    start, scores = (len(encoded.ids), state.scores) if known else (0, state.scores[:0])
    return _Extension(encoded, scores, None, None, start)


def _extend(state: PrefixState, encoded: EncodedSolution) -> _Extension:
    """The part of a text that is to be read, given a state that shares its beginning."""
    shared = _shared_length(state.encoded.ids, encoded.ids)
    known, spans = 0, encoded.spans
    for old, new in zip(state.encoded.spans, spans, strict=False):
        if old != new or old.stop > shared:
            break
        known += 1
    # The features of ids before the first new span are needed no more: reading begins there, or
    # where the ids differ, whichever comes first.
    first = spans[known].start if known < len(spans) else shared
    if state.last_hidden is not None and first == shared - 1 and shared == len(state.encoded.ids):
        # The span begins at the last id that was read, whose features are kept.
        return _Extension(encoded, state.scores[:known], state.cache, state.last_hidden, shared)
    start = min(shared, first)
    cache = None if state.cache is None else crop_row(state.cache, start)
    return _Extension(encoded, state.scores[:known], cache, None, start)


def _shared_length(old: Sequence[int], new: Sequence[int]) -> int:
    """Number of ids that two texts have in common from the start."""
    for k, (a, b) in enumerate(zip(old, new, strict=False)):
        if a != b:
            return k
    return min(len(old), len(new))
