"""Solutions that the tiny base samples itself, graded by the exact checkers.

They show the process reward model the mistakes that this generator really makes.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from examples.tiny import arithmetic_problems, countdown_problems, countdown_work
from examples.tiny.countdown_work import Work
from reason_decode.core.steps import StepSplitter
from reason_decode.io.jsonl import write_rows
from reason_decode.tasks import arithmetic, countdown

_PER_PROBLEM = 4
ANSWERED = ("Answer:", "So the answer is")
"""How the last line of a solution begins, by kind of problem."""


class _Share(NamedTuple):
    """Batches of one kind: how many, of how many rows, cut after how many tokens."""

    batches: int
    rows: int
    tokens: int


# Most first and second steps lead nowhere, and they are cheap to sample: the largest share.
_OPENINGS = _Share(100, 512, 34)
_WHOLE = _Share(48, 512, 96)
# Answers to three right steps: few solutions get that far, and then a slip costs the game.
_ANSWERS = _Share(48, 512, 24)
_ARITHMETIC = _Share(48, 256, 240)


def grade(prompt: str, steps: Sequence[str]) -> list[bool]:
    """Whether each step is right, up to the first that does not follow, for either kind of problem.

    Work goes on past the dead ends of countdown: a verifier that only ever read on from right steps
    believes at the third line what it doubted at the first.

    Raises:
        ValueError: the prompt is neither a countdown nor an arithmetic problem.
    """
    problem = countdown.parse_prompt(prompt)
    if problem is not None:
        return countdown.grade_steps(*problem, steps, past_dead_ends=True)
    return arithmetic.grade_steps(prompt.strip().removesuffix("=").strip(), steps)


def draw(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int) -> Iterator[Work]:
    """Sample solutions at temperature 1, several a problem: openings, whole ones, answers, sums.

    Args:
        model: the base.
        tokenizer: its tokenizer.
        seed: of the problems and of the samples.
    """
    rng = random.Random(f"sampled/{seed}")
    torch.manual_seed(seed)
    shares = [
        share for share in (_OPENINGS, _WHOLE, _ANSWERS, _ARITHMETIC) for _ in range(share.batches)
    ]
    for share in tqdm(shares, unit="batch", mininterval=5):
        begun = [_begun(rng, share) for _ in range(share.rows // _PER_PROBLEM)]
        for (prompt, given, _), new in _continued(model, tokenizer, begun, share.tokens):
            yield _graded(prompt, [*given, *new])
            yield from resumed(prompt, new)


def draw_whole(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int, batches: int
) -> Iterator[tuple[str, list[str], bool]]:
    """Sample whole solutions, one batch in four of sums: ``(prompt, steps, is the answer right)``.

    Args:
        model: the base.
        tokenizer: its tokenizer.
        seed: of the problems and of the samples.
        batches: of 512 solutions, or of 256 sums.
    """
    rng = random.Random(f"whole/{seed}")
    torch.manual_seed(seed)
    for k in tqdm(range(batches), unit="batch", mininterval=5):
        share = _ARITHMETIC if k % 4 == 3 else _WHOLE
        begun = [_begun(rng, share) for _ in range(share.rows // _PER_PROBLEM)]
        for (prompt, _, _), steps in _continued(model, tokenizer, begun, share.tokens):
            right = grade(prompt, steps)
            ended = steps[-1].startswith(ANSWERED)
            yield prompt, steps, ended and len(right) == len(steps) and all(right)


def _continued(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, begun: Sequence[Work], tokens: int
) -> Iterator[tuple[Work, list[str]]]:
    """What the model says behind each beginning, several times: whole steps, if there are any."""
    generator: Any = model  # transformers types its models so that none can be asked to generate()
    texts = ["\n".join([work.prompt.rstrip("\n"), *work.steps, ""]) for work in begun]
    inputs = tokenizer(texts, return_tensors="pt", padding=True)
    sequences = generator.generate(
        **inputs,
        do_sample=True,
        top_k=0,
        max_new_tokens=tokens,
        num_return_sequences=_PER_PROBLEM,
    )
    new = sequences[:, inputs["input_ids"].shape[1] :]
    for i, text in enumerate(tokenizer.batch_decode(new, skip_special_tokens=True)):
        # What the token budget cut off is no step.
        if steps := StepSplitter().complete(text):
            yield begun[i // _PER_PROBLEM], steps


def _graded(prompt: str, steps: Sequence[str]) -> Work:
    right = grade(prompt, steps)
    return Work(prompt, tuple(steps[: len(right)]), tuple(right))


def resumed(prompt: str, steps: Sequence[str]) -> Iterator[Work]:
    """The rest of a countdown solution as work on the problem that is left after each step.

    A search goes on from dead ends that its verifier took for right, and there the generator makes
    its results up. Labels that end at the first wrong step never show that; as the first steps of
    problems of their own, hopeless ones mostly, those lines are learnt from.
    """
    problem = countdown.parse_prompt(prompt)
    if problem is None:
        return
    for k, line in enumerate(steps, 1):
        left = countdown.numbers_left(line) or ()
        # The answer is an expression of the numbers that were given at first.
        rest = [line for line in steps[k:] if not line.startswith("Answer:")]
        if len(left) > 1 and rest:
            yield _graded(countdown.format_prompt(sorted(left), problem[1]), rest)


def _begun(rng: random.Random, share: _Share) -> Work:
    """A problem, with all its steps but the answer where answers are wanted."""
    if share is _ARITHMETIC:
        return Work(arithmetic.format_prompt(arithmetic_problems.multi_step(rng)), (), ())
    problem = countdown_problems.solvable(rng)
    if share is not _ANSWERS:
        return Work(countdown.format_prompt(*problem), (), ())
    work = countdown_work.write(rng, *problem)
    return Work(work.prompt, work.steps[:-1], work.right[:-1])


def write(path: Path, works: Iterator[Work]) -> None:
    """Write graded solutions as JSON lines; the file appears only once it is whole."""
    write_rows(path, (work._asdict() for work in works))


def read(path: Path) -> list[Work]:
    """The solutions that ``write`` wrote."""
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return [Work(row["prompt"], tuple(row["steps"]), tuple(row["right"])) for row in rows]
