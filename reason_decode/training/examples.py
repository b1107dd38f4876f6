"""Labelled solutions as token ids, laid out by the very object that will score with them."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from reason_decode.core.answers import extract_answer, same_answer
from reason_decode.models.tokenization import EncodedSolution
from reason_decode.training.labelled import LabelledSolution

__all__ = [
    "IGNORE",
    "Example",
    "collate",
    "hold_out",
    "is_right",
    "outcome_examples",
    "says",
    "split_by",
    "step_examples",
]

IGNORE = -100
Item = TypeVar("Item")


class Judge(Protocol):
    """What lays text out: a format of a process reward model, or an outcome reward model."""

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The ids, and where each step is judged."""
        ...


class Example(NamedTuple):
    """One text to learn from.

    Attributes:
        ids: its tokens.
        places: which of them are learnt at, ascending.
        classes: the right class at each place.
        wrong: texts that go with it in a batch and are learnt from in another way.
    """

    ids: list[int]
    places: list[int]
    classes: list[int]
    wrong: tuple["Example", ...] = ()


def step_examples(
    solutions: Iterable[LabelledSolution], judge: Judge, classes: dict[int, int]
) -> Iterator[Example]:
    """Each solution with a class at the end of every labelled step.

    Steps behind the last labelled one are not read.

    Args:
        solutions: labels are keys of ``classes`` or ``None``.
        judge: the format that will score.
        classes: label -> class.

    Example:
        >>> from reason_decode import tiny
        >>> from reason_decode.training import LabelledSolution, step_examples
        >>> solution = LabelledSolution("1 + 2 + 3 =", ("1 + 2 = 3", "3 + 3 = 7"), labels=(1, -1))
        >>> (example,) = step_examples([solution], tiny.load().prm.format, {-1: 0, 1: 1})
        >>> example.classes
        [1, 0]
    """
    for solution in solutions:
        known = [k for k, label in enumerate(solution.labels) if label is not None]
        if known:
            layout = judge.encode(solution.prompt, solution.steps[: known[-1] + 1])
            labels = [solution.labels[k] for k in known]
            yield Example(
                layout.ids,
                [layout.score_positions[k] for k in known],
                [classes[label] for label in labels if label is not None],
            )


def outcome_examples(solutions: Iterable[LabelledSolution], judge: Judge) -> Iterator[Example]:
    """Each solution whose answer is known to be right or wrong, with that class at its last token.

    Args:
        solutions: those of which ``is_right`` cannot tell are left out.
        judge: the outcome reward model that will score.
    """
    for solution in solutions:
        right = is_right(solution)
        if right is not None and solution.steps:
            layout = judge.encode(solution.prompt, solution.steps)
            yield Example(layout.ids, [layout.score_positions[-1]], [int(right)])


def is_right(solution: LabelledSolution) -> bool | None:
    """Whether a solution's answer is right: as it is labelled, else by the reference answer.

    Example:
        >>> from reason_decode.training import LabelledSolution, is_right
        >>> is_right(LabelledSolution("1 + 1 =", ("1 + 1 = 3",), (None,), answer="2"))
        False
    """
    if solution.correct is not None or solution.answer is None:
        return solution.correct
    return says("\n".join(solution.steps), solution.answer)


def says(text: str, answer: str) -> bool:
    """Whether a text states an answer, and it is this one."""
    said = extract_answer(text)
    return said is not None and same_answer(said, answer)


def hold_out(
    solutions: Iterable[LabelledSolution], share: float
) -> tuple[list[LabelledSolution], list[LabelledSolution]]:
    """Solutions to learn from and to measure on; those of one prompt are on one side.

    Args:
        solutions: any number.
        share: of the prompts, held out; in [0, 1).

    Raises:
        ValueError: a share out of range.
    """
    return split_by(lambda solution: solution.prompt, solutions, share)


def split_by(
    name: Callable[[Item], str], items: Iterable[Item], share: float
) -> tuple[list[Item], list[Item]]:
    """Items to learn from and to measure on; those of one name are on one side.

    The name decides, so that the split is the same in every run and for every seed.

    Args:
        name: of an item.
        items: any number.
        share: of the names, held out; in [0, 1).

    Raises:
        ValueError: a share out of range.
    """
    if not 0 <= share < 1:
        raise ValueError(f"got a share of {share} to hold out; it must be at least 0 and below 1")
    kept: list[Item] = []
    held: list[Item] = []
    for item in items:
        digest = hashlib.sha256(name(item).encode()).digest()
        chance = int.from_bytes(digest[:8], "big") / 2**64
        (held if chance < share else kept).append(item)
    return kept, held


def collate(examples: Sequence[Example], pad: int) -> dict[str, Tensor]:
    """Examples as a batch padded on the right, each followed by the wrong ones that go with it.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, (b, t) int64; labels are ``IGNORE`` where
        nothing is learnt. ``wrong``, only if there are any: the labels of wrong examples, in whose
        rows ``labels`` has none; so it has none in the others.
    """
    rows = [(row, row is not example) for example in examples for row in (example, *example.wrong)]
    shape = (len(rows), max(len(row.ids) for row, _ in rows))
    ids = torch.full(shape, pad)
    mask = torch.zeros(shape, dtype=torch.long)
    labels, wrong = torch.full(shape, IGNORE), torch.full(shape, IGNORE)
    for k, (row, is_wrong) in enumerate(rows):
        ids[k, : len(row.ids)] = torch.tensor(row.ids)
        mask[k, : len(row.ids)] = 1
        (wrong if is_wrong else labels)[k, row.places] = torch.tensor(row.classes)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {**batch, "wrong": wrong} if len(rows) > len(examples) else batch
