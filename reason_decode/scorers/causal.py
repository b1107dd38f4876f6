"""Scorers that read solutions with a causal model, each token once.

A ``PrefixState`` is a text that has been read: its ids, its scores and its key-value cache. To read
a longer text, ``PrefixReader`` compares the ids of both from the start, crops the cache after the
last id that they share, and sends only the other ids through the model. So it does not matter
whether a tokenizer merges tokens across the end of a step, or what a chat template appends to a
turn: only the ids that changed are read again. States are never changed, so a search may extend one
state in several ways, and drop others.

A recurrent model (Mamba), which cannot go back to an earlier id, reads each text from its start.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.messages import Prompt, to_prompts, turns
from reason_decode.core.solutions import check_pairs, check_text, to_steps
from reason_decode.core.splitting import Splitting, prompt_suffix_for
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
from reason_decode.models.heads import hub_id_or_path
from reason_decode.models.inputs import EncodedSolution, input_device, max_positions, pad_rows
from reason_decode.scorers.base import (
    Candidates,
    Scorer,
    ScoreSpace,
    Session,
    candidate_names,
    check_finite,
)
from reason_decode.scorers.causal_reader import CausalReader, Span
from reason_decode.scorers.limits import check_lengths, warn_of_rereading

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
        extends: the model goes on from a cache; if not, a warning says so.
    """

    def __init__(self, reader: CausalReader) -> None:
        self.reader, self.tokens_read, self.extends = reader, 0, True
        cache = new_cache(reader.model.config)
        if not has_rows(cache) or is_recurrent(cache):
            self.extends = False
            warn_of_rereading(reader.model)
        self._positions = max_positions(reader.model) or math.inf

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
        if max((len(text.ids) for text in encoded), default=0) > self._positions:
            check_lengths(self.reader, encoded)
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
            self.extends = False
            warn_of_rereading(self.reader.model)
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


class CachedSession(Session):
    """A session of a causal model; see ``Session``.

    Args:
        reader: the model with its layout.
        prompts: the prompt that each trajectory begins with.

    Raises:
        ValueError: a prompt without tokens.
    """

    def __init__(self, reader: CausalReader, prompts: Sequence[Prompt]) -> None:
        # Searches pass texts; only a caller's own conversations are to be converted.
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        super().__init__(texts if len(texts) == len(prompts) else to_prompts(prompts))
        self.reader, self._prefix_reader = reader, PrefixReader(reader)
        for k, prompt in enumerate(self.prompts):
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
        check_finite(scores, candidate_names(new))
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

    Arguments and errors are those of ``CausalReader``.
    """

    score_space: ScoreSpace = "probability"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        separator: str | None,
        chat: bool | None,
        batch_tokens: int,
        splitter: Splitting | None = None,
    ) -> None:
        super().__init__(model, tokenizer, separator, chat, batch_tokens, splitter)
        self.prompt_suffix = "" if self.chat else prompt_suffix_for(self.separator)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        return {
            "path_or_id": hub_id_or_path(self.model),
            "separator": self.separator,
            "chat": self.chat,
            **self.splitter_settings(),
        }

    def score(
        self, prompts: Sequence[Prompt], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Scores of each solution; a prompt is read once for several solutions in a row.

        Args:
            prompts: the prompt of each solution, a text or a conversation.
            solutions: texts, split at the separator, or lists of steps.

        Returns:
            For each solution float32 (s,) from a scorer of steps, (1,) from one of whole solutions;
            (0,) for a solution without steps.

        Raises:
            ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
        """
        texts = to_prompts(prompts)
        check_pairs(texts, solutions)
        steps = to_steps(solutions, self.splitter, self.per_step)
        prefix_reader = PrefixReader(self)
        scores: list[Tensor] = []
        for start in range(0, len(steps), MAX_SOLUTIONS):
            window = slice(start, start + MAX_SOLUTIONS)
            # Conversations may end in the same question.
            keys = [repr(turns(prompt)) for prompt in texts[window]]
            distinct = dict(zip(keys, texts[window], strict=True))
            read = prefix_reader.read_prompts([*distinct.values()])
            states = dict(zip(distinct, read, strict=True))
            before = [states[key] for key in keys]
            encoded = [
                self.encode(prompt, x) if x else state.encoded
                for prompt, x, state in zip(texts[window], steps[window], before, strict=True)
            ]
            scores += [x.scores for x in prefix_reader.read(before, encoded, keep_cache=False)]
        check_finite(scores, [f"solution {k}" for k in range(len(scores))])
        return scores

    def start_session(self, prompts: Sequence[Prompt]) -> Session:
        """A session that reads each prompt and each step once."""
        return CachedSession(self, prompts)

    @abstractmethod
    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """One score a span, (len(spans),)."""


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
