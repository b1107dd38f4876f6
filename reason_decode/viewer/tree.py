"""The tree of a trace's steps or candidates, and the table of its votes."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from reason_decode.core.answers import same_answer
from reason_decode.core.solutions import Candidate, Step, Trace

__all__ = ["AnswerVotes", "NodeState", "TreeNode", "build_tree", "count_votes"]

NodeState = Literal["chosen", "kept", "dropped", "part"]


@dataclass(frozen=True)
class TreeNode:
    """A step of a search, a whole candidate, or a step of a whole candidate.

    Args:
        text: the generated text.
        parent: index of the node that it continues or is a part of; ``None`` for a root.
        depth: 0 for a root.
        score: the scorer's score of it; ``None`` if it was not scored.
        total: the number that the strategy ranked it by; ``None`` if it was not scored.
        tokens: number of tokens sampled for it; ``None`` for a step of a whole candidate.
        state: "chosen" if it was returned or is a step of what was returned; "kept" or "dropped" by
            the search or the selection; "part" for a step of another whole candidate.
        finished: true if it ended the solution.
        why: an explanation of the state; empty if the state needs none.
        answer: the answer extracted from a whole candidate.
        rationale: the rationale written before a step.
        lookahead_text: greedy continuation of the step that ``total`` was scored by.
    """

    text: str
    parent: int | None
    depth: int
    score: float | None
    total: float | None
    tokens: int | None
    state: NodeState
    finished: bool
    why: str = ""
    answer: str | None = None
    rationale: str | None = None
    lookahead_text: str | None = None


@dataclass(frozen=True)
class AnswerVotes:
    """The votes for one answer.

    Args:
        answer: the answer as its first candidate wrote it; ``None`` for candidates without one.
        count: number of candidates that gave it.
        weight: sum of their weights.
        won: true if it is the answer that was returned.
    """

    answer: str | None
    count: int
    weight: float
    won: bool


def build_tree(trace: Trace) -> list[TreeNode]:
    """The nodes of a trace, parents before children: a search's rounds, or candidates and steps."""
    return _search_nodes(trace) if trace.rounds else _candidate_nodes(trace)


def count_votes(trace: Trace) -> list[AnswerVotes]:
    """The votes by answer, greatest weight first, candidates without an answer last.

    Empty for strategies that do not vote.
    """
    if not trace.votes:
        return []
    count = Counter(_groups(trace))
    won = _group(trace.best.answer, trace)
    rows = [AnswerVotes(x, count[x], weight, x == won) for x, weight in trace.votes.items()]
    rows.sort(key=lambda row: -row.weight)
    return rows + ([AnswerVotes(None, count[None], 0.0, won is None)] if count[None] else [])


def _groups(trace: Trace) -> Iterator[str | None]:
    return (_group(candidate.answer, trace) for candidate in trace.candidates)


def _group(answer: str | None, trace: Trace) -> str | None:
    """The key in ``trace.votes`` that an answer counts for."""
    if answer is None or answer in trace.votes:
        return answer
    return next((x for x in trace.votes if same_answer(answer, x)), None)


def _search_nodes(trace: Trace) -> list[TreeNode]:
    best = _chosen_path(trace)
    nodes: list[TreeNode] = []
    start = 0
    for depth, steps in enumerate(trace.rounds):
        begin = len(nodes)
        for k, step in enumerate(steps):
            chosen = depth < len(best) and best[depth] == k
            nodes.append(
                TreeNode(
                    text=step.text,
                    parent=None if step.parent is None else start + step.parent,
                    depth=depth,
                    score=step.score,
                    total=step.total,
                    tokens=step.tokens,
                    state="chosen" if chosen else "kept" if step.kept else "dropped",
                    finished=step.finished,
                    why="" if chosen else _explain_step(step, steps),
                    rationale=step.rationale,
                    lookahead_text=step.lookahead_text,
                )
            )
        start = begin
    return nodes


def _chosen_path(trace: Trace) -> list[int]:
    """For each round, the index of the step on the path to the solution that was returned first.

    Empty if no path of kept steps has the text and the total of that solution.
    """
    whole = "".join("".join(trace.best.steps).split())
    for depth in reversed(range(len(trace.rounds))):
        for k, step in enumerate(trace.rounds[depth]):
            path, at = [k], step
            for before in reversed(trace.rounds[:depth]):
                assert at.parent is not None
                path.insert(0, at.parent)
                at = before[at.parent]
            joined = "".join(steps[i].text for steps, i in zip(trace.rounds, path, strict=False))
            if step.kept and step.total == trace.best.total and "".join(joined.split()) == whole:
                return path
    return []


def _explain_step(step: Step, steps: Sequence[Step]) -> str:
    """Why a step is not on the path to the solution that was returned."""
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
        return f"{text}, the last of them with the same total"
    # The strategy knows which of the three applies; the trace does not record it.
    return f"{text}, some with a lower total: it was cut off, a duplicate, or in another subtree"


def _candidate_nodes(trace: Trace) -> list[TreeNode]:
    nodes: list[TreeNode] = []
    for k in _ranked(trace):
        candidate, at = trace.candidates[k], len(nodes)
        nodes.append(
            TreeNode(
                text=candidate.text,
                parent=None,
                depth=0,
                score=None,
                total=candidate.total,
                tokens=candidate.tokens,
                state="chosen" if k in trace.chosen else "dropped",
                finished=candidate.finished,
                why="" if k in trace.chosen else _explain_candidate(candidate, trace),
                answer=candidate.answer,
            )
        )
        state: NodeState = "chosen" if k == trace.chosen[0] else "part"
        one_each = len(candidate.scores) == len(candidate.steps)
        for i, text in enumerate(candidate.steps):
            score = candidate.scores[i] if one_each else None
            last = i + 1 == len(candidate.steps) and candidate.finished
            nodes.append(TreeNode(text, at, 1, score, None, None, state, last))
    return nodes


def _ranked(trace: Trace) -> list[int]:
    """Indices of the candidates: the chosen ones, then the others by total, ties as sampled."""
    chosen = list(dict.fromkeys(trace.chosen))
    rest = [k for k in range(len(trace.candidates)) if k not in chosen]
    return chosen + sorted(rest, key=lambda k: -(trace.candidates[k].total or 0.0))


def _explain_candidate(candidate: Candidate, trace: Trace) -> str:
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
        return "" if candidate.finished else "cut off, so it ranks below finished candidates"
    if candidate.total == best.total:
        return "the same total as the one returned, but not the first"
    place = 1 + sum(x.total is not None and x.total > candidate.total for x in trace.candidates)
    return f"place {place} of {len(trace.candidates)}"
