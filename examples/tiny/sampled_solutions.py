"""Solutions that the tiny base samples itself, graded by exact checkers.

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

from examples.tiny import arithmetic_problems, countdown_problems, countdown_solutions
from examples.tiny.countdown_solutions import WorkedSolution
from reason_decode.core.splitting import StepSplitter
from reason_decode.io.jsonl import write_rows
from reason_decode.tasks import arithmetic, countdown

_PER_PROBLEM = 4
ANSWER_OPENINGS = ("Answer:", "So the answer is")
"""Beginnings of the last line of a solution, by kind of problem."""


class _Share(NamedTuple):
    """Number of batches of one kind, rows of each, and the budget of new tokens."""

    batches: int
    rows: int
    tokens: int


# Most first and second steps lead nowhere, and they are cheap to sample: the largest share.
_OPENINGS = _Share(100, 512, 34)
_WHOLE = _Share(48, 512, 96)
# Answers after three right steps: few solutions get that far, and there a slip costs the game.
_ANSWERS = _Share(48, 512, 24)
_ARITHMETIC = _Share(48, 256, 240)


def grade_steps(prompt: str, steps: Sequence[str]) -> list[bool]:
    """Labels of steps, true for right ones, up to and including the first that is not valid.

    Grading goes on past the dead ends of countdown: a verifier that only ever read on from right
    steps would believe at the third line what it doubted at the first.

    Args:
        prompt: a countdown or an arithmetic problem.
        steps: lines of a solution, without newlines.

    Raises:
        ValueError: the prompt is neither kind of problem.
    """
    problem = countdown.parse_prompt(prompt)
    if problem is not None:
        return countdown.grade_steps(*problem, steps, past_dead_ends=True)
    return arithmetic.grade_steps(prompt.strip().removesuffix("=").strip(), steps)


def sample_labelled(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int
) -> Iterator[WorkedSolution]:
    """Solutions sampled at temperature 1, four to a problem: openings, whole ones, answers, sums.

    Args:
        model: the base.
        tokenizer: the tokenizer of ``model``.
        seed: seed of the problems and of the samples.
    """
    rng = random.Random(f"sampled/{seed}")
    torch.manual_seed(seed)
    shares = [
        share for share in (_OPENINGS, _WHOLE, _ANSWERS, _ARITHMETIC) for _ in range(share.batches)
    ]
    for share in tqdm(shares, unit="batch", mininterval=5):
        starts = [_start(rng, share) for _ in range(share.rows // _PER_PROBLEM)]
        for (prompt, given, _), new in _continuations(model, tokenizer, starts, share.tokens):
            yield _labelled(prompt, [*given, *new])
            yield from later_problems(prompt, new)


def sample_whole(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seed: int, batches: int
) -> Iterator[tuple[str, list[str], bool]]:
    """Sampled whole solutions, one batch in four of sums: ``(prompt, steps, answer_is_right)``.

    Args:
        model: the base.
        tokenizer: the tokenizer of ``model``.
        seed: seed of the problems and of the samples.
        batches: number of batches, each of 512 countdown solutions or of 256 sums.
    """
    rng = random.Random(f"whole/{seed}")
    torch.manual_seed(seed)
    for k in tqdm(range(batches), unit="batch", mininterval=5):
        share = _ARITHMETIC if k % 4 == 3 else _WHOLE
        starts = [_start(rng, share) for _ in range(share.rows // _PER_PROBLEM)]
        for (prompt, _, _), steps in _continuations(model, tokenizer, starts, share.tokens):
            right = grade_steps(prompt, steps)
            answered = steps[-1].startswith(ANSWER_OPENINGS)
            yield prompt, steps, answered and len(right) == len(steps) and all(right)


def _continuations(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    starts: Sequence[WorkedSolution],
    tokens: int,
) -> Iterator[tuple[WorkedSolution, list[str]]]:
    """Each start with the whole steps of each of its sampled continuations, if there are any."""
    generator: Any = model  # transformers types its models so that none can be asked to generate()
    texts = ["\n".join([x.prompt.rstrip("\n"), *x.steps, ""]) for x in starts]
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
        # A step that the token budget cut off is dropped.
        if steps := StepSplitter().complete(text):
            yield starts[i // _PER_PROBLEM], steps


def _labelled(prompt: str, steps: Sequence[str]) -> WorkedSolution:
    right = grade_steps(prompt, steps)
    return WorkedSolution(prompt, tuple(steps[: len(right)]), tuple(right))


def later_problems(prompt: str, steps: Sequence[str]) -> Iterator[WorkedSolution]:
    """The rest of a countdown solution after each step, as a solution of the problem left there.

    A search goes on from dead ends that its verifier took for right, and there the generator makes
    its results up. Labels that end at the first wrong step never show that. As first steps of
    problems of their own, mostly unsolvable ones, those lines are learnt from.

    Args:
        prompt: a countdown problem; other prompts give nothing.
        steps: the steps of a sampled solution.
    """
    problem = countdown.parse_prompt(prompt)
    if problem is None:
        return
    for k, line in enumerate(steps, 1):
        left = countdown.numbers_left(line) or ()
        # The answer is an expression of the numbers of the first problem.
        rest = [line for line in steps[k:] if not line.startswith("Answer:")]
        if len(left) > 1 and rest:
            yield _labelled(countdown.format_prompt(sorted(left), problem[1]), rest)


def _start(rng: random.Random, share: _Share) -> WorkedSolution:
    """A problem without steps; for the share of answers, with all steps but the answer."""
    if share is _ARITHMETIC:
        expression = arithmetic_problems.multi_step(rng)
        return WorkedSolution(arithmetic.format_prompt(expression), (), ())
    problem = countdown_problems.solvable(rng)
    if share is not _ANSWERS:
        return WorkedSolution(countdown.format_prompt(*problem), (), ())
    solution = countdown_solutions.write(rng, *problem)
    return WorkedSolution(solution.prompt, solution.steps[:-1], solution.right[:-1])


def write_solutions(path: Path, solutions: Iterator[WorkedSolution]) -> None:
    """Write labelled solutions as JSON Lines; the file appears only once it is complete."""
    write_rows(path, (solution._asdict() for solution in solutions))


def read_solutions(path: Path) -> list[WorkedSolution]:
    """The solutions of a file from ``write_solutions``."""
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return [WorkedSolution(row["prompt"], tuple(row["steps"]), tuple(row["right"])) for row in rows]
