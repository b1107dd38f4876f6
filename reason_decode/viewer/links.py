"""Which step of the round before each step of a search continues."""

from collections.abc import Sequence
from dataclasses import dataclass

from reason_decode.records import Step, Trace

__all__ = ["Links", "link"]


@dataclass(frozen=True)
class Links:
    """The edges of a search's tree.

    Args:
        parents: of each step of each round, the index of the step that it continues in the round
            before; ``None`` in the first round.
        sure: whether they explain all that the trace says. ``Step.parent`` is a place in the beam,
            whose order (by subtree, then by total) a trace does not hold; it is read from the
            totals.
    """

    parents: tuple[tuple[int | None, ...], ...]
    sure: bool


def link(trace: Trace) -> Links:
    """The links under which the trace's candidates are paths of the tree and the best were kept.

    Tried are one subtree, and all numbers of them under which each kept as much of the first round
    as the others; of equal explanations the first is taken. It is sure if no other that explains
    the candidates links the steps in another way.
    """
    if not trace.rounds:
        return Links((), True)
    kept = [step.kept for step in trace.rounds[0]]
    counts = [s for s in range(1, sum(kept) + 1) if len({sum(kept[k::s]) for k in range(s)}) == 1]
    tries = [_try(trace, subtrees) for subtrees in counts or [1]]
    best = min(tries, key=lambda one: one.faults)
    others = {one.parents for one in tries if one.faults[0] == 0}
    return Links(best.parents, others == {best.parents})


@dataclass(frozen=True)
class _Try:
    """The links if the beam had some number of subtrees.

    Args:
        parents: of each step of each round.
        faults: what speaks against it: places that do not fit and candidates that are no path,
            then steps dropped for worse ones.
    """

    parents: tuple[tuple[int | None, ...], ...]
    faults: tuple[int, int]


def _try(trace: Trace, subtrees: int) -> _Try:
    rounds = trace.rounds
    first = tuple(None for _ in rounds[0])
    parents: list[tuple[int | None, ...]] = [first]
    trees = [k % subtrees for k in range(len(first))]
    said = [_squeezed(step.text) for step in rounds[0]]
    ends = {(text, step.total) for text, step in zip(said, rounds[0], strict=True)}
    cut = {_squeezed("".join(x.steps)) for x in trace.candidates if not x.finished}
    unfit, worse = 0, _worse(rounds[0], trees)
    for before, steps in zip(rounds, rounds[1:], strict=False):
        live = [k for k, step in enumerate(before) if _goes_on(step)]
        places = sorted({step.parent for step in steps})
        if len(live) > len(places):
            live = [k for k in live if said[k] not in cut]
        live.sort(key=lambda k: (trees[k], -_total(before[k])))
        unfit += len(live) != len(places)
        # Where they do not fit, the nearest there is: what is drawn then is said to be unsure.
        came = {place: live[min(k, len(live) - 1)] for k, place in enumerate(places) if live}
        links = tuple(came.get(step.parent, 0) if before else None for step in steps)
        said = [
            ("" if k is None else said[k]) + _squeezed(step.text)
            for k, step in zip(links, steps, strict=True)
        ]
        trees = [0 if k is None else trees[k] for k in links]
        ends |= {(text, step.total) for text, step in zip(said, steps, strict=True)}
        worse += _worse(steps, trees)
        parents.append(links)
    lost = sum((_squeezed("".join(x.steps)), x.total) not in ends for x in trace.candidates)
    return _Try(tuple(parents), (unfit + lost, worse))


def _goes_on(step: Step) -> bool:
    return step.kept and not step.finished


def _total(step: Step) -> float:
    return 0.0 if step.total is None else step.total


def _worse(steps: Sequence[Step], trees: Sequence[int]) -> int:
    """How many steps were dropped although their subtree kept one of lower total."""
    lowest: dict[int, float] = {}
    for step, tree in zip(steps, trees, strict=True):
        if step.kept:
            lowest[tree] = min(_total(step), lowest.get(tree, _total(step)))
    return sum(
        not step.kept and _total(step) > lowest.get(tree, _total(step))
        for step, tree in zip(steps, trees, strict=True)
    )


def _squeezed(text: str) -> str:
    """Without white space: a step's separator is not in the trace."""
    return "".join(text.split())
