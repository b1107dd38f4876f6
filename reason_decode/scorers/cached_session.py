"""Reading trajectories with a judge: each token once, in batches, whatever is branched or dropped.

A judge lays a trajectory out as token ids and says where it is to be judged. What a trajectory
shares with the one that it continues is not read again: the cache behind it is cut where the ids
part, so that tokens which merge across a step's end, or what a chat template puts behind it, cost
nothing but themselves.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from reason_decode.core.steps import StepSplitter
from reason_decode.generation.cache import (
    RowCache,
    build_row_batch,
    check_branchable,
    crop_row,
    new_cache,
    take_row,
)
from reason_decode.models.devices import input_device
from reason_decode.models.positions import learned_positions
from reason_decode.models.tokenization import EncodedSolution
from reason_decode.scorers.base import Session
from reason_decode.scorers.checks import check_finite, check_pairs, check_text, to_steps

# Stateless scoring goes over so many solutions at a time, to bound what is held of their prompts.
WINDOW = 512


class Span(NamedTuple):
    """What was read for one judgement: features (k, c) of its places, and the ids after them."""

    features: Tensor
    following: list[int]


class Judge(Protocol):
    """A causal model, how it wants its text laid out, and what its outputs mean."""

    model: PreTrainedModel
    splitter: StepSplitter
    batch_tokens: int
    """At most so many tokens, padding included, go through one forward pass."""
    per_step: bool
    """Whether each step is judged, or the trajectory as a whole."""

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The ids of a prompt with its first steps, and the places where it is judged."""
        ...

    def read(self, **inputs: Any) -> Tensor:
        """What the model says of each token, (b, t, c), given inputs, position ids and a cache."""
        ...

    def judge(self, spans: Sequence[Span]) -> Tensor:
        """One score a span, (len(spans),)."""
        ...


class Read(NamedTuple):
    """A trajectory that has been read: its steps, layout and scores, and the cache behind it.

    ``edge`` (c,) are the features of its last id: a judgement of the next step may begin there.
    """

    steps: tuple[str, ...]
    layout: EncodedSolution
    scores: Tensor
    cache: RowCache | None = None
    edge: Tensor | None = None


class _Task(NamedTuple):
    """A trajectory to be read from ``start`` on, behind a past that gave its first scores."""

    steps: tuple[str, ...]
    layout: EncodedSolution
    scores: Tensor
    past: RowCache | None
    edge: Tensor | None
    start: int

    @property
    def new(self) -> list[int]:
        return self.layout.ids[self.start :]

    def spans(self, features: Tensor) -> list[Span]:
        """What is to be judged, given the features of the new ids, (t, c)."""
        before = self.start
        if self.edge is not None:
            features, before = torch.cat([self.edge[None], features]), before - 1
        return [
            Span(
                features[span.start - before : span.stop - before],
                self.layout.ids[span.start + 1 : span.stop + 1],
            )
            for span in self.layout.spans[len(self.scores) :]
        ]


_UNREAD = Read((), EncodedSolution([], []), torch.zeros(0))


class CachedSession(Session):
    """What a judge has read of each trajectory; see ``Session``.

    Args:
        judge: the model with its layout.
        prompts: where each trajectory begins.

    Raises:
        ValueError: a prompt without tokens, or a model whose cache cannot be branched.
    """

    def __init__(self, judge: Judge, prompts: Sequence[str]) -> None:
        check_branchable(new_cache(judge.model.config), type(judge).__name__)
        for k, prompt in enumerate(prompts):
            check_text(prompt, f"prompt {k}")
        self.positions = learned_positions(judge.model)
        super().__init__(prompts)
        self.judge = judge
        tasks = [_task(_UNREAD, (), judge.encode(prompt, ())) for prompt in prompts]
        for prompt, task in zip(prompts, tasks, strict=True):
            if not task.new:
                raise ValueError(f"got the prompt {prompt!r}, which has no tokens; pass some text")
        self.trajectories = self._read(tasks, keep_cache=True)
        self._candidates: list[list[Read]] = []

    def score(
        self, candidates: Sequence[Sequence[Sequence[str]]], keep_cache: bool = True
    ) -> list[list[Tensor]]:
        """Scores of the new steps of each candidate; see ``Session.score``.

        Raises:
            ValueError: a blank step, or a score that is not finite.
        """
        groups = [to_steps(group, self.judge.splitter) for group in candidates]
        places = [(i, j) for i, group in enumerate(groups) for j in range(len(group))]
        reads = self.read_behind([(i, groups[i][j]) for i, j in places], keep_cache)
        fresh = [
            read.scores[self.judge.per_step * len(self.trajectories[i].scores) :]
            for (i, _), read in zip(places, reads, strict=True)
        ]
        check_finite(fresh, [f"candidate {j} of trajectory {i}" for i, j in places])
        found = dict(zip(places, zip(reads, fresh, strict=True), strict=True))
        nested = [[found[i, j] for j in range(len(group))] for i, group in enumerate(groups)]
        self._candidates = [[read for read, _ in group] for group in nested]
        return [[scores for _, scores in group] for group in nested]

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Continue with the chosen ``(trajectory, candidate)`` pairs of the last ``score``."""
        self.trajectories = [self._candidates[i][j] for i, j in choice]
        self.prompts = [self.prompts[i] for i, _ in choice]
        self._candidates = []

    def read_behind(
        self, candidates: Sequence[tuple[int, Sequence[str]]], keep_cache: bool
    ) -> list[Read]:
        """Read new steps behind trajectories, given as ``(trajectory, steps)``."""
        tasks: list[_Task] = []
        for i, new in candidates:
            past = self.trajectories[i]
            steps = (*past.steps, *new)
            layout = self.judge.encode(self.prompts[i], steps) if new else past.layout
            tasks.append(_task(past, steps, layout))
        return self._read(tasks, keep_cache)

    def _read(self, tasks: Sequence[_Task], keep_cache: bool) -> list[Read]:
        """Read each task in batches of similar length."""
        longest = max((len(task.layout.ids) for task in tasks), default=0)
        if self.positions is not None and longest > self.positions:
            raise ValueError(
                f"got a prompt with steps of {longest} tokens; {type(self.judge.model).__name__} "
                f"has a table of {self.positions} positions and cannot read on: pass shorter "
                "texts, or a scorer that reads longer ones"
            )
        # Of a trajectory with nothing new to read, everything stays as it was.
        reads = [Read(x.steps, x.layout, x.scores, x.past, x.edge) for x in tasks]
        lengths = [len(task.new) for task in tasks]
        order = sorted((k for k in range(len(tasks)) if lengths[k]), key=lengths.__getitem__)
        while order:
            batch = [order.pop()]
            while order and self._fits([tasks[k] for k in [*batch, order[-1]]]):
                batch.append(order.pop())
            fresh = self._forward([tasks[k] for k in batch], keep_cache)
            for k, read in zip(batch, fresh, strict=True):
                reads[k] = read
        return reads

    def _fits(self, tasks: Sequence[_Task]) -> bool:
        width = max(task.start for task in tasks) + len(tasks[0].new)
        return len(tasks) * width <= self.judge.batch_tokens

    @torch.no_grad()
    def _forward(self, tasks: Sequence[_Task], keep_cache: bool) -> list[Read]:
        """One forward pass over what is new of each."""
        judge, device = self.judge, input_device(self.judge.model)
        rows = build_row_batch(
            judge.model.config,
            [task.past for task in tasks if task.past is not None],
            [torch.tensor(task.new, device=device) for task in tasks],
        )
        features = judge.read(**rows.inputs)
        self.tokens_read += sum(len(task.new) for task in tasks)
        spans = [task.spans(features[k, : len(task.new)]) for k, task in enumerate(tasks)]
        every = [span for own in spans for span in own]
        scores = self.judge.judge(every).float().cpu() if every else torch.zeros(0)
        reads: list[Read] = []
        for k, (task, new) in enumerate(zip(tasks, scores.split([*map(len, spans)]), strict=True)):
            read = Read(task.steps, task.layout, torch.cat([task.scores, new]))
            if keep_cache:
                row = take_row(rows.cache, k, rows.spans[k].start, rows.spans[k].stop)
                read = read._replace(cache=row, edge=features[k, len(task.new) - 1].clone())
            reads.append(read)
        return reads


def _task(past: Read, steps: tuple[str, ...], layout: EncodedSolution) -> _Task:
    """What is left to read of a trajectory, given one that shares its beginning."""
    shared = _shared(past.layout.ids, layout.ids)
    known, spans = 0, layout.spans
    for old, new in zip(past.layout.spans, spans, strict=False):
        if old != new or old.stop > shared:
            break
        known += 1
    first = spans[known].start if known < len(spans) else shared
    if past.edge is not None and first == shared - 1 and shared == len(past.layout.ids):
        return _Task(steps, layout, past.scores[:known], past.cache, past.edge, shared)
    start = min(shared, first)
    cache = None if past.cache is None else crop_row(past.cache, start)
    return _Task(steps, layout, past.scores[:known], cache, None, start)


def _shared(old: Sequence[int], new: Sequence[int]) -> int:
    """How many ids two trajectories have in common from the start."""
    for k, (a, b) in enumerate(zip(old, new, strict=False)):
        if a != b:
            return k
    return min(len(old), len(new))


def score_all(
    judge: Judge, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
) -> list[Tensor]:
    """Scores of whole solutions; a prompt with several of them in a row is read once.

    Args:
        judge: the model with its layout.
        prompts: one a solution.
        solutions: text, split by the judge's splitter, or ready lists of steps.

    Raises:
        ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
    """
    check_pairs(prompts, solutions)
    steps = to_steps(solutions, judge.splitter)
    scores: list[Tensor] = []
    for start in range(0, len(steps), WINDOW):
        window = slice(start, start + WINDOW)
        places = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts[window]))}
        session = CachedSession(judge, list(places))
        behind = [(places[p], x) for p, x in zip(prompts[window], steps[window], strict=True)]
        scores += [read.scores for read in session.read_behind(behind, keep_cache=False)]
    check_finite(scores, [f"solution {k}" for k in range(len(scores))])
    return scores
