"""What the methods of ``dust.py`` learn from: the tiny base's own solutions, right and wrong.

The teacher is the base with an exact check: right samples of problems that it seldom solves are
what its greedy decoding lacks. Problems are made by the package's own generators, never with the
target 24, and none is tested on. References are the generators' worked solutions of the same
problems. Each file holds one chunk of problems and appears once it is whole; its layout is one that
``reason-decode train`` reads.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from examples.tiny import arithmetic_problems, countdown_problems, countdown_solutions
from reason_decode import tiny
from reason_decode.io.jsonl import write_rows
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
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Sampled side by side: a GPU is no slower for a whole chunk than for a part.
ROWS = {"cpu": 256, "cuda": 2048}[DEVICE]
SEPARATOR = "\n"


class Kind(NamedTuple):
    """One kind of problem: what tests and grades it, how it is made, and tokens of a sample."""

    task: str
    draw: Callable[[random.Random], tuple[str, Sequence[str]]]
    item: Callable[[str], Item]
    tokens: int


class Samples(NamedTuple):
    """What is learnt from."""

    reference: list[LabelledSolution]
    right: list[LabelledSolution]
    wrong: list[LabelledSolution]
    counts: GradeCounts


def draw_countdown(rng: random.Random) -> tuple[str, Sequence[str]]:
    """A problem and its worked solution."""
    solution = countdown_solutions.write(rng, *countdown_problems.solvable(rng))
    return solution.prompt, solution.steps


def draw_arithmetic(rng: random.Random) -> tuple[str, Sequence[str]]:
    """A problem and its worked solution."""
    expression = arithmetic_problems.multi_step(rng)
    return arithmetic.format_prompt(expression), [
        str(line) for line in arithmetic.solve(expression)
    ]


def game(prompt: str) -> Item:
    """The countdown problem of a prompt."""
    problem = countdown.parse_prompt(prompt)
    if problem is None:
        raise ValueError(f"got {prompt!r}, which is no countdown problem")
    return countdown_item(*problem)


KINDS = {
    "countdown": Kind("game24", draw_countdown, game, 100),
    "arithmetic": Kind("bbh-arithmetic", draw_arithmetic, arithmetic_item, 320),
}


def kind_of(prompt: str) -> Kind:
    """The kind of problem that a prompt is."""
    return KINDS["arithmetic" if countdown.parse_prompt(prompt) is None else "countdown"]


def is_right(problem: LabelledSolution, text: str) -> bool:
    """Whether a solution's final answer is right, by the task's own grader."""
    kind = kind_of(problem.prompt)
    return TASKS[kind.task].grade(kind.item(problem.prompt), text)


def draw(
    folder: Path,
    problems: dict[str, int],
    n: int,
    tested: Collection[str],
    *,
    part: tuple[int, ...] = (0, 1),
) -> None:
    """Fill a folder with chunks of samples and references; those that are there are kept.

    Args:
        folder: is made.
        problems: kind -> how many.
        n: samples a problem.
        tested: prompts that are not to be drawn.
        part: K and OF: only chunk K and every OF-th behind it, of those of all kinds.
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
        made = list(_made(name, k, count, tested))
        write_rows(folder / f"reference-{name}-{k:03}.jsonl", _rows(made))
        t = t or tiny.load()
        model = t.model.to(DEVICE)
        config = SamplingConfig(
            n=n, max_new_tokens=KINDS[name].tokens, batch_rows=ROWS, separator=SEPARATOR, seed=k
        )
        found = sample_solutions(model, t.tokenizer, made, config, is_right=is_right)
        write_rows(path, _rows(found))


def read(folder: Path, right: int, wrong: int, tested: Collection[str]) -> Samples:
    """The samples of a folder, each text once.

    Args:
        folder: what ``draw`` filled.
        right: at most so many right samples of a problem: those that have most are the easiest.
        wrong: at most so many wrong ones.
        tested: prompts that must not be among them.

    Raises:
        ValueError: a problem that is tested on, or the Game of 24, is among them.
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
    return Samples(found["reference"], _capped(good, right), _capped(bad, wrong), counts)


def _made(name: str, chunk: int, count: int, tested: Collection[str]) -> Iterator[LabelledSolution]:
    """Problems with their references; a chunk's depend on its number only."""
    rng = random.Random(f"dust/{name}/{chunk}")
    while count:
        prompt, steps = KINDS[name].draw(rng)
        made = LabelledSolution(prompt, tuple(steps), (None,) * len(steps), correct=True)
        if not is_right(made, SEPARATOR.join(steps)) or is_right(made, SEPARATOR.join(steps[:-1])):
            raise AssertionError(f"{prompt!r} is graded wrongly")
        if prompt not in tested:
            count -= 1
            yield made


def _rows(solutions: Iterable[LabelledSolution]) -> Iterator[dict[str, Any]]:
    for x in solutions:
        yield {"prompt": x.prompt, "solution": SEPARATOR.join(x.steps), "correct": x.correct}


def _capped(solutions: Iterable[LabelledSolution], most: int) -> list[LabelledSolution]:
    seen: Counter[str] = Counter()
    kept: list[LabelledSolution] = []
    for x in solutions:
        seen[x.prompt] += 1
        if seen[x.prompt] <= most:
            kept.append(x)
    return kept
