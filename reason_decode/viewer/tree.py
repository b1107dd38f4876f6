"""A trace as a tree of nodes, each with what became of it, and as a table of votes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from reason_decode.core.answers import same_answer
from reason_decode.core.records import Candidate, Step, Trace

__all__ = ["Node", "State", "Vote", "tree", "votes"]

State = Literal["chosen", "kept", "dropped", "part"]


@dataclass(frozen=True)
class Node:
    """A step of a search, a whole candidate, or a step of one.

    Args:
        text: what the model said.
        parent: index of the node that it continues or is a part of; ``None`` of a root.
        depth: 0 of a root.
        score: what the scorer said of it; ``None`` where nothing was scored.
        total: what the strategy ranked it by; ``None`` likewise.
        tokens: sampled for it; ``None`` of a part, where nobody counted.
        state: "chosen" is what was returned or a step of it; "part" a step of a whole candidate.
        finished: whether it ended the solution.
        why: what the trace says of its fate, in words; empty where its state says all.
        answer: read from a whole candidate.
        rationale: written before a step.
        lookahead_text: greedy continuation of the step that ``total`` was scored by.
    """

    text: str
    parent: int | None
    depth: int
    score: float | None
    total: float | None
    tokens: int | None
    state: State
    finished: bool
    why: str = ""
    answer: str | None = None
    rationale: str | None = None
    lookahead_text: str | None = None


@dataclass(frozen=True)
class Vote:
    """One row of a vote.

    Args:
        answer: as its first voter wrote it; ``None`` for those who gave none.
        count: voters.
        weight: the sum of theirs.
        won: whether it is the answer that was returned.
    """

    answer: str | None
    count: int
    weight: float
    won: bool


def tree(trace: Trace) -> list[Node]:
    """The nodes, parents before children: rounds in order, or candidates with their steps."""
    return _searched(trace) if trace.rounds else _pooled(trace)


def votes(trace: Trace) -> list[Vote]:
    """The vote, greatest weight first; those without an answer last. Empty where nobody voted."""
    if not trace.votes:
        return []
    count = Counter(_groups(trace))
    won = _group(trace.best.answer, trace)
    rows = [Vote(x, count[x], weight, x == won) for x, weight in trace.votes.items()]
    rows.sort(key=lambda row: -row.weight)
    return rows + ([Vote(None, count[None], 0.0, won is None)] if count[None] else [])


def _groups(trace: Trace) -> Iterator[str | None]:
    return (_group(candidate.answer, trace) for candidate in trace.candidates)


def _group(answer: str | None, trace: Trace) -> str | None:
    """The answer of the vote that an answer counts for."""
    if answer is None or answer in trace.votes:
        return answer
    return next((x for x in trace.votes if same_answer(answer, x)), None)


def _searched(trace: Trace) -> list[Node]:
    best = _path(trace)
    nodes: list[Node] = []
    start = 0
    for depth, steps in enumerate(trace.rounds):
        begin = len(nodes)
        for k, step in enumerate(steps):
            chosen = depth < len(best) and best[depth] == k
            nodes.append(
                Node(
                    text=step.text,
                    parent=None if step.parent is None else start + step.parent,
                    depth=depth,
                    score=step.score,
                    total=step.total,
                    tokens=step.tokens,
                    state="chosen" if chosen else "kept" if step.kept else "dropped",
                    finished=step.finished,
                    why="" if chosen else _fate(step, steps),
                    rationale=step.rationale,
                    lookahead_text=step.lookahead_text,
                )
            )
        start = begin
    return nodes


def _path(trace: Trace) -> list[int]:
    """Of each round the index of the step on the path to what was returned first."""
    whole = "".join("".join(trace.best.steps).split())
    for depth in reversed(range(len(trace.rounds))):
        for k, step in enumerate(trace.rounds[depth]):
            path, at = [k], step
            for before in reversed(trace.rounds[:depth]):
                assert at.parent is not None
                path.insert(0, at.parent)
                at = before[at.parent]
            said = "".join(steps[i].text for steps, i in zip(trace.rounds, path, strict=False))
            if step.kept and step.total == trace.best.total and "".join(said.split()) == whole:
                return path
    return []


def _fate(step: Step, steps: Sequence[Step]) -> str:
    """What became of a step that is not on the path to the choice."""
    if step.kept:
        return "finished, but another was returned" if step.finished else ""
    total = step.total
    if total is None:
        return ""
    kept = [x.total for x in steps if x.kept and x.total is not None]
    place = 1 + sum(x.total is not None and x.total > total for x in steps)
    text = f"place {place} of {len(steps)} in its round; {len(kept)} kept"
    if not kept or total < min(kept):
        return text
    if total == min(kept):
        return f"{text}, the last of them level with it"
    # What the strategy knows and the trace does not say: which of the three it was.
    return f"{text}, not all of them better: it was cut off, like a kept one, or in another subtree"


def _pooled(trace: Trace) -> list[Node]:
    nodes: list[Node] = []
    for k in _ranked(trace):
        candidate, at = trace.candidates[k], len(nodes)
        nodes.append(
            Node(
                text=candidate.text,
                parent=None,
                depth=0,
                score=None,
                total=candidate.total,
                tokens=candidate.tokens,
                state="chosen" if k in trace.chosen else "dropped",
                finished=candidate.finished,
                why="" if k in trace.chosen else _loss(candidate, trace),
                answer=candidate.answer,
            )
        )
        state: State = "chosen" if k == trace.chosen[0] else "part"
        one_each = len(candidate.scores) == len(candidate.steps)
        for i, text in enumerate(candidate.steps):
            score = candidate.scores[i] if one_each else None
            last = i + 1 == len(candidate.steps) and candidate.finished
            nodes.append(Node(text, at, 1, score, None, None, state, last))
    return nodes


def _ranked(trace: Trace) -> list[int]:
    """The candidates' indices: what was chosen, then by total, then as they were sampled."""
    chosen = list(dict.fromkeys(trace.chosen))
    rest = [k for k in range(len(trace.candidates)) if k not in chosen]
    return chosen + sorted(rest, key=lambda k: -(trace.candidates[k].total or 0.0))


def _loss(candidate: Candidate, trace: Trace) -> str:
    """Why a whole candidate was not returned."""
    best = trace.best
    if trace.votes:
        group, won = _group(candidate.answer, trace), _group(best.answer, trace)
        if group is None:
            return "no answer, so no vote"
        if group == won:
            return "the same answer as the one returned"
        weight = trace.votes[group]
        return f"its answer has weight {weight:.4g}, the winner {trace.votes.get(won or '', 0):.4g}"
    if candidate.total is None or best.total is None:
        return ""
    if candidate.total > best.total:
        return "" if candidate.finished else "cut off, so it ranks behind what finished"
    if candidate.total == best.total:
        return "as good as the one returned, but not the first"
    place = 1 + sum(x.total is not None and x.total > candidate.total for x in trace.candidates)
    return f"place {place} of {len(trace.candidates)}"
