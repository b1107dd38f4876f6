"""Right and wrong samples of the tiny base, which the methods of ``dust.py`` learn.

The teacher is the base with an exact check: right samples of problems that it seldom solves are
those that greedy decoding misses. Problems come from the recipe's generators, never with the target
24, and none of them is tested on. References are the generators' worked solutions of the same
problems. Each file has one chunk of problems, appears once it is complete, and can be read by
``reason-decode train``.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from examples.tiny import arithmetic_problems, countdown_problems, countdown_solutions
from reason_decode import tiny
from reason_decode.io.jsonl import write_rows
from reason_decode.models.devices import default_device
from reason_decode.tasks import TASKS, Item, arithmetic, arithmetic_item, countdown, countdown_item
from reason_decode.training import (
    GradeCounts,
    LabelledSolution,
    SamplingConfig,
    grade_samples,
    read_labelled,
    sample_solutions,
)

CHUNK = 128
DEVICE = default_device()
# Rows of a sampling batch; an accelerator is no slower for a whole chunk than for a part.
BATCH_ROWS = 256 if DEVICE.type == "cpu" else 2048
SEPARATOR = "\n"


class Kind(NamedTuple):
    """One kind of problem.

    Attributes:
        task: name of the task that grades it.
        draw: draws a prompt with the steps of a worked solution.
        item: the task's item of a prompt.
        tokens: budget of new tokens.
    """

    task: str
    draw: Callable[[random.Random], tuple[str, Sequence[str]]]
    item: Callable[[str], Item]
    tokens: int


class TrainingSamples(NamedTuple):
    """Reference solutions, right samples, wrong samples, and counts of all samples."""

    reference: list[LabelledSolution]
    right: list[LabelledSolution]
    wrong: list[LabelledSolution]
    counts: GradeCounts


def draw_countdown(rng: random.Random) -> tuple[str, Sequence[str]]:
    """The prompt of a random countdown problem and the steps of its worked solution."""
    solution = countdown_solutions.write(rng, *countdown_problems.solvable(rng))
    return solution.prompt, solution.steps


def draw_arithmetic(rng: random.Random) -> tuple[str, Sequence[str]]:
    """The prompt of a random sum and the steps of its worked solution."""
    expression = arithmetic_problems.multi_step(rng)
    return arithmetic.format_prompt(expression), [
        str(line) for line in arithmetic.solve(expression)
    ]


def to_countdown_item(prompt: str) -> Item:
    """The item of a countdown prompt.

    Raises:
        ValueError: the prompt is no countdown problem.
    """
    problem = countdown.parse_prompt(prompt)
    if problem is None:
        raise ValueError(f"got {prompt!r}; need a countdown problem: 'Make 24 from 4 5 6 10.'")
    return countdown_item(*problem)


KINDS = {
    "countdown": Kind("game24", draw_countdown, to_countdown_item, 100),
    "arithmetic": Kind("bbh-arithmetic", draw_arithmetic, arithmetic_item, 320),
}


def kind_of(prompt: str) -> Kind:
    """The kind of a prompt."""
    return KINDS["arithmetic" if countdown.parse_prompt(prompt) is None else "countdown"]


def is_right(problem: LabelledSolution, text: str) -> bool:
    """True if the final answer of a text is right, by the task's grader."""
    kind = kind_of(problem.prompt)
    return TASKS[kind.task].grade(kind.item(problem.prompt), text)


def draw_samples(
    folder: Path,
    problems: dict[str, int],
    n: int,
    tested: Collection[str],
    *,
    part: tuple[int, ...] = (0, 1),
) -> None:
    """Write the chunks of samples and references that are missing in a folder.

    Args:
        folder: the folder, made if it does not exist.
        problems: kind -> number of problems.
        n: samples of a problem.
        tested: prompts that must not be drawn.
        part: ``(k, of)``: only chunk k and every of-th chunk after it, of all kinds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chunks = [
        (name, k, min(CHUNK, count - start))
        for name, count in problems.items()
        for k, start in enumerate(range(0, count, CHUNK))
    ]
    t: Any = None
    for name, k, count in chunks[part[0] :: part[1]]:
        path = folder / f"samples-{name}-{k:03}.jsonl"
        if path.exists():
            continue
        drawn = list(_draw_problems(name, k, count, tested))
        write_rows(folder / f"reference-{name}-{k:03}.jsonl", _rows(drawn))
        t = t or tiny.load()
        model = t.model.to(DEVICE)
        config = SamplingConfig(
            n=n,
            max_new_tokens=KINDS[name].tokens,
            batch_rows=BATCH_ROWS,
            separator=SEPARATOR,
            seed=k,
        )
        found = sample_solutions(model, t.tokenizer, drawn, config, is_right=is_right)
        write_rows(path, _rows(found))


def read_samples(folder: Path, right: int, wrong: int, tested: Collection[str]) -> TrainingSamples:
    """The samples of a folder, each text once.

    Args:
        folder: a folder from ``draw_samples``.
        right: the most right samples of a problem; easy problems have many.
        wrong: the most wrong samples of a problem.
        tested: prompts that must not be among the problems.

    Raises:
        ValueError: a tested problem, or one with the target 24, is among them.
    """
    found = {
        name: [x for path in sorted(folder.glob(f"{name}-*.jsonl")) for x in read_labelled(path)]
        for name in ("reference", "samples")
    }
    for x in (*found["reference"], *found["samples"]):
        problem = countdown.parse_prompt(x.prompt)
        if x.prompt in tested or (problem and problem[1] == countdown_problems.HELD_OUT_TARGET):
            raise ValueError(f"{folder} has {x.prompt!r}, which is tested on; draw into another")
    good, bad, counts = grade_samples(found["samples"])
    return TrainingSamples(found["reference"], _at_most(good, right), _at_most(bad, wrong), counts)


def _draw_problems(
    name: str, chunk: int, count: int, tested: Collection[str]
) -> Iterator[LabelledSolution]:
    """The problems of a chunk with their references; they depend on the chunk's number only."""
    rng = random.Random(f"dust/{name}/{chunk}")
    while count:
        prompt, steps = KINDS[name].draw(rng)
        reference = LabelledSolution(prompt, tuple(steps), (None,) * len(steps), correct=True)
        # The step before the last may conclude with the value, which answers as well.
        if not is_right(reference, SEPARATOR.join(steps)) or is_right(reference, steps[0]):
            raise AssertionError(f"{prompt!r} is graded wrongly")
        if prompt not in tested:
            count -= 1
            yield reference


def _rows(solutions: Iterable[LabelledSolution]) -> Iterator[dict[str, Any]]:
    for x in solutions:
        yield {"prompt": x.prompt, "solution": SEPARATOR.join(x.steps), "correct": x.correct}


def _at_most(solutions: Iterable[LabelledSolution], most: int) -> list[LabelledSolution]:
    """The first solutions of each problem, at most so many."""
    seen: Counter[str] = Counter()
    kept: list[LabelledSolution] = []
    for x in solutions:
        seen[x.prompt] += 1
        if seen[x.prompt] <= most:
            kept.append(x)
    return kept
