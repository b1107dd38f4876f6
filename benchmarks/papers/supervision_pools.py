"""Generated problems with samples of the base and exact labels, for ``supervision.py``."""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch
from tqdm import tqdm

from examples.tiny import arithmetic_problems, countdown_problems
from examples.tiny.sampled_solutions import grade_steps
from reason_decode import tiny
from reason_decode.core.splitting import StepSplitter
from reason_decode.evaluation.complete import complete
from reason_decode.io.jsonl import write_rows
from reason_decode.tasks import TASKS, arithmetic, countdown
from reason_decode.training import LabelledSolution, label_by_checker

SEPARATOR = "\n"
# Token budgets: a countdown solution has about 60 tokens, a sum about 200.
_MAX_NEW_TOKENS = {"countdown": 100, "arithmetic": 256}
_TEST_SEED = 10**6

Pools = list[list[LabelledSolution]]
"""The labelled samples of each problem."""


def load_pools(args: argparse.Namespace, seed: int | None) -> Pools:
    """The samples of each problem with exact labels, sampled if they are missing.

    Args:
        args: the options of ``supervision.py``.
        seed: seed of the problems to learn from; ``None`` for the problems to test on.

    Raises:
        ValueError: the file of samples has other problems.
    """
    size = args.pool if seed is None else args.samples
    prompts = _prompts(args, seed)
    name = f"{'test' if seed is None else f'train-{seed}'}-{len(prompts)}x{size}.jsonl"
    path = args.output / name
    if not path.exists():
        _sample(args, path, prompts, size, seed=_TEST_SEED if seed is None else seed)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    if [row["prompt"] for row in rows] != prompts:
        raise ValueError(f"{path} has other problems; name another --output")
    # Equal solutions are labelled once.
    labelled = cache(partial(label_solution, neutral=args.neutral))
    return [[labelled(row["prompt"], text) for text in row["texts"]] for row in rows]


def _prompts(args: argparse.Namespace, seed: int | None) -> list[str]:
    if seed is not None:
        return _generate_prompts(args.kind, args.problems, f"train {seed}")
    if args.input:
        items, _ = TASKS["game24"].load(args.input, args.rows)
        return [item.prompt for item in items][: args.tests]
    return _generate_prompts(args.kind, args.tests, "test")


def _generate_prompts(kind: str, count: int, seed: str) -> list[str]:
    rng = random.Random(f"supervision/{seed}")
    if kind == "arithmetic":
        expressions = [arithmetic_problems.multi_step(rng) for _ in range(count)]
        return [arithmetic.format_prompt(expression) for expression in expressions]
    problems = dict.fromkeys(countdown_problems.solvable(rng) for _ in range(3 * count))
    return [countdown.format_prompt(*problem) for problem in problems][:count]


def _sample(
    args: argparse.Namespace, path: Path, prompts: Sequence[str], size: int, seed: int
) -> None:
    """Write samples of each problem to a file."""
    models = tiny.load()
    model = models.model.to(args.device)
    torch.manual_seed(seed)
    repeated = [prompt for prompt in prompts for _ in range(size)]
    texts: list[str] = []
    rows = args.sample_batch_size
    for start in tqdm(range(0, len(repeated), rows), desc=path.name, unit="batch"):
        texts += complete(
            model,
            models.tokenizer,
            None,
            repeated[start : start + rows],
            max_new_tokens=_MAX_NEW_TOKENS[args.kind],
            temperature=1.0,
        ).texts
    write_rows(
        path,
        (
            {"prompt": prompt, "texts": texts[k * size : (k + 1) * size]}
            for k, prompt in enumerate(prompts)
        ),
    )


def label_solution(prompt: str, text: str, *, neutral: str) -> LabelledSolution:
    """A solution with exact labels of its steps and of its answer.

    A dead end is the paper's neutral step. The paper counts it as right where whole solutions are
    ranked: a solution with an answer went through none. Then only the expression of the answer,
    which is hard to read, distinguishes solutions that missed the target.

    Args:
        prompt: a countdown or an arithmetic problem.
        text: the solution.
        neutral: what a dead end counts as, ``"positive"`` or ``"negative"``.
    """
    steps = tuple(StepSplitter(SEPARATOR).split(text))
    unlabelled = LabelledSolution(prompt, steps, (None,) * len(steps))
    grade = partial(_grade_steps, dead_ends_are_wrong=neutral == "negative")
    (labelled,) = label_by_checker([unlabelled], grade)
    return replace(labelled, correct=has_right_answer(prompt, steps))


def _grade_steps(prompt: str, steps: Sequence[str], *, dead_ends_are_wrong: bool) -> list[bool]:
    problem = countdown.parse_prompt(prompt)
    if problem is None:
        return grade_steps(prompt, steps)
    return countdown.grade_steps(*problem, steps, require_reachable=dead_ends_are_wrong)


def has_right_answer(prompt: str, steps: Sequence[str]) -> bool:
    """True if the last step states the right answer, whatever the steps before it are."""
    last, problem = steps[-1] if steps else "", countdown.parse_prompt(prompt)
    if problem is not None:
        return last.startswith("Answer:") and countdown.is_answer(*problem, last)
    tree = arithmetic.parse(prompt.strip().removesuffix("="))
    return tree is not None and last == f"So the answer is {arithmetic.value_of(tree)}."
