"""Scorers that read a solution with a causal model: each token goes through the model once.

A ``PrefixState`` is a text that has been read: its ids, its scores and its key-value cache. To read
a longer text, the reader compares the ids of both from the start, crops the cache after the last id
that they share, and sends only the other ids through the model. So it does not matter whether a
tokenizer merges tokens across the end of a step, or what a chat template appends to a turn: only
the ids that changed are read again. States are never changed, so a search may extend one state in
several ways, and drop others.
"""

import warnings
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.solutions import check_pairs, check_text, to_steps
from reason_decode.generation.batch import (
    RowCache,
    build_row_batch,
    check_branchable,
    crop_row,
    new_cache,
    take_row,
)
from reason_decode.models.heads import hub_id_or_path
from reason_decode.models.inputs import (
    EncodedSolution,
    input_device,
    learned_positions,
    max_positions,
)
from reason_decode.scorers.base import (
    Candidates,
    Scorer,
    ScoreSpace,
    Session,
    check_finite,
)
from reason_decode.scorers.causal_reader import CausalReader, Span

__all__ = ["MAX_SOLUTIONS", "CachedSession", "CausalScorer", "PrefixReader", "PrefixState"]

MAX_SOLUTIONS = 512
"""Scoring without a session takes this many solutions at a time, which bounds the memory of
prompts."""


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

    Raises:
        ValueError: the model's cache cannot be branched.
    """

    def __init__(self, reader: CausalReader) -> None:
        check_branchable(new_cache(reader.model.config), type(reader).__name__)
        self.reader, self.tokens_read = reader, 0
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
        extensions = [_extend(state, text) for state, text in zip(states, encoded, strict=True)]
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
        lengths = [len(x.new_ids) for x in extensions]
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
        batch = build_row_batch(
            self.reader.model.config,
            [x.cache for x in extensions if x.cache is not None],
            [torch.tensor(x.new_ids, device=device) for x in extensions],
        )
        features = self.reader.forward(**batch.inputs)
        self.tokens_read += sum(len(x.new_ids) for x in extensions)
        spans = [x.spans(features[k, : len(x.new_ids)]) for k, x in enumerate(extensions)]
        flat = [span for own in spans for span in own]
        scores = self.reader.score_spans(flat).float().cpu() if flat else torch.zeros(0)
        states: list[PrefixState] = []
        for k, (x, new) in enumerate(
            zip(extensions, scores.split([*map(len, spans)]), strict=True)
        ):
            state = PrefixState(x.encoded, torch.cat([x.scores, new]))
            if keep_cache:
                row = take_row(batch.cache, k, batch.spans[k].start, batch.spans[k].stop)
                last_hidden = features[k, len(x.new_ids) - 1].clone()
                state = state._replace(cache=row, last_hidden=last_hidden)
            states.append(state)
        return states


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


class CachedSession(Session):
    """A session of a causal model; see ``Session``.

    Args:
        reader: the model with its layout.
        prompts: the prompt that each trajectory begins with.

    Raises:
        ValueError: a prompt without tokens, or a model whose cache cannot be branched.
    """

    def __init__(self, reader: CausalReader, prompts: Sequence[str]) -> None:
        super().__init__(prompts)
        self.reader, self._prefix_reader = reader, PrefixReader(reader)
        for k, prompt in enumerate(prompts):
            check_text(prompt, f"prompt {k}")
        self.steps: list[tuple[str, ...]] = [()] * len(self.prompts)
        self.states = self._prefix_reader.read_prompts(self.prompts)
        self.tokens_read = self._prefix_reader.tokens_read
        self._candidates: list[list[tuple[tuple[str, ...], PrefixState]]] = []

    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        """Scores of the new steps of each candidate; see ``Session.score``.

        Raises:
            ValueError: a blank step, or a score that is not finite.
        """
        new = [to_steps(group, self.reader.splitter, self.reader.per_step) for group in candidates]
        owners = [i for i, group in enumerate(new) for _ in group]
        steps = [(*self.steps[i], *x) for i, group in enumerate(new) for x in group]
        before = [self.states[i] for i in owners]
        encoded = [
            self.reader.encode(self.prompts[i], x) if len(x) > len(self.steps[i]) else state.encoded
            for i, x, state in zip(owners, steps, before, strict=True)
        ]
        states = self._prefix_reader.read(before, encoded, keep_cache)
        self.tokens_read = self._prefix_reader.tokens_read
        # A score of the whole solution is a new one each time.
        scores = [
            state.scores[len(old.scores) if self.reader.per_step else 0 :]
            for old, state in zip(before, states, strict=True)
        ]
        check_finite(
            scores,
            [f"candidate {j} of trajectory {i}" for i, x in enumerate(new) for j in range(len(x))],
        )
        found, rest = iter(scores), iter(zip(steps, states, strict=True))
        self._candidates = [[next(rest) for _ in group] for group in new] if keep_cache else []
        return [[next(found) for _ in group] for group in new]

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Continue with the chosen ``(trajectory, candidate)`` pairs of the last ``score``."""
        chosen = [self._candidates[i][j] for i, j in choice]
        self.steps = [steps for steps, _ in chosen]
        self.states = [state for _, state in chosen]
        self.prompts = [self.prompts[i] for i, _ in choice]
        self._candidates = []


class CausalScorer(CausalReader, Scorer):
    """A scorer that reads a solution with a causal model, each token once.

    Subclasses write ``encode``, which lays a solution out as ids and says where it is scored, and
    ``score_spans``, which turns the model's features there into scores.

    Args:
        model: the model; it is put into evaluation mode.
        tokenizer: the tokenizer of ``model``; the generator may have another one.
        separator: ends a step in a solution's text.
        chat: whether the prompt is a user's message in the tokenizer's chat template; ``None``: if
            the tokenizer has one.
        batch_tokens: largest number of tokens in one forward pass, padding included.

    Raises:
        ValueError: the model's vocabulary is smaller than the tokenizer's, or ``chat=True`` without
            a chat template.
    """

    score_space: ScoreSpace = "probability"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        separator: str,
        chat: bool | None,
        batch_tokens: int,
    ) -> None:
        super().__init__(model, tokenizer, separator, chat, batch_tokens)
        self.prompt_suffix = "" if self.chat else separator

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        return {
            "path_or_id": hub_id_or_path(self.model),
            "separator": self.splitter.separator,
            "chat": self.chat,
        }

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Scores of each solution; a prompt is read once for several solutions in a row.

        Args:
            prompts: the prompt of each solution.
            solutions: texts, split at the separator, or lists of steps.

        Returns:
            For each solution float32 (s,) from a scorer of steps, (1,) from one of whole solutions;
            (0,) for a solution without steps.

        Raises:
            ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
        """
        check_pairs(prompts, solutions)
        steps = to_steps(solutions, self.splitter, self.per_step)
        prefix_reader = PrefixReader(self)
        scores: list[Tensor] = []
        for start in range(0, len(steps), MAX_SOLUTIONS):
            window = slice(start, start + MAX_SOLUTIONS)
            distinct = list(dict.fromkeys(prompts[window]))
            states = dict(zip(distinct, prefix_reader.read_prompts(distinct), strict=True))
            before = [states[prompt] for prompt in prompts[window]]
            encoded = [
                self.encode(prompt, x) if x else states[prompt].encoded
                for prompt, x in zip(prompts[window], steps[window], strict=True)
            ]
            scores += [x.scores for x in prefix_reader.read(before, encoded, keep_cache=False)]
        check_finite(scores, [f"solution {k}" for k in range(len(scores))])
        return scores

    def start_session(self, prompts: Sequence[str]) -> Session:
        """A session that reads each prompt and each step once."""
        return CachedSession(self, prompts)

    @abstractmethod
    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """One score a span, (len(spans),)."""
