"""Endless batches of worked problems, made on the fly from a seed and a step number."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from examples.tiny import (
    arithmetic_problems,
    arithmetic_work,
    chain_batch,
    chains,
    countdown_problems,
    countdown_work,
)
from examples.tiny import surface_variation as rough
from examples.tiny.batch import (
    DEAD_END,
    DIGITS,
    IGNORE,
    LEGAL,
    NO_DIGIT,
    RIGHT,
    WRONG,
    Batch,
    Placed,
    Row,
    as_id,
    padded,
)
from examples.tiny.countdown_work import Work
from reason_decode.tasks import countdown

# The answer of a countdown solution is shown going wrong twice as often as an operation: a search
# that got that far loses the game if it takes the wrong one of a few expressions.
_ANSWER_WEIGHT = 2
# Of the problems of any size, how many are worked through fractions, and how many begin midway.
_FRACTIONAL = 0.2
_MIDWAY = 0.4
# A step's short problems go through the model in so many batches, each of like lengths.
_PARTS = 4
# Of the lines of a chain, and of chains by themselves.
_CHAIN_FLAWED = 0.35
_DRILL_FLAWED = 0.5


class Mixture(NamedTuple):
    """What a step holds: problems of each kind, how often one is flawed, how often they are deep.

    ``varied`` and ``brief`` count the countdown problems of any size and the short arithmetic ones;
    ``sampled`` more are taken from a pool of the model's own solutions, if there is one;
    ``rough`` is the share of countdown solutions that are rewritten as other models write;
    ``terse`` is said at ``countdown_problem``; ``chains`` and ``drills`` count chains of equations,
    whole problems and single lines.
    """

    countdown: int = 64
    arithmetic: int = 9
    flawed: float = 0.4
    deep_every: int = 8
    varied: int = 0
    brief: int = 0
    sampled: int = 0
    rough: float = 0.0
    terse: bool = False
    chains: int = 0
    drills: int = 0


Schedule = Sequence[tuple[int, Mixture]]
"""Mixtures with the step from which each holds, the first from step 0."""


def countdown_problem(
    rng: random.Random, flawed: float, *, terse: bool = False, varied: bool = False
) -> Work:
    """A countdown problem with a worked solution, flawed with the given probability.

    ``terse`` ones waste no tokens that a verdict might be learnt from: right ones end where a flaw
    might have been, and after dead ends the work goes on.
    """
    kind = rng.random() if varied else 1.0
    fractional = kind < _FRACTIONAL
    numbers, target = _problem(rng, kind, varied)
    if target not in countdown.reachable(numbers):
        return countdown_work.write(rng, numbers, target, 0, onward=terse)
    answer = _ANSWER_WEIGHT if countdown.has_answer(numbers) else 0
    weights = [1] * (len(numbers) - 1) + [answer]
    (place,) = rng.choices(range(len(numbers)), weights)
    flaw_at = place if rng.random() < flawed else None
    work = countdown_work.write(rng, numbers, target, flaw_at, fractional=fractional, onward=terse)
    if terse and flaw_at is None:
        work = work._replace(steps=work.steps[: place + 1], right=work.right[: place + 1])
    return work


def _problem(rng: random.Random, kind: float, varied: bool) -> tuple[countdown.State, int]:
    if kind < _FRACTIONAL:
        return countdown_problems.through_fractions(rng)
    if kind < _FRACTIONAL + _MIDWAY:
        return countdown_problems.midway(rng)
    return countdown_problems.varied(rng) if varied else countdown_problems.solvable(rng)


def arithmetic_problem(
    rng: random.Random, flawed: float, *, deep: bool = False, brief: bool = False
) -> Work:
    """An arithmetic problem with a worked solution, flawed with the given probability."""
    expression = (
        arithmetic_problems.short(rng) if brief else arithmetic_problems.multi_step(rng, deep)
    )
    # A brief problem's first line only repeats it.
    flaw_at = 0.34 + 0.66 * rng.random() if brief else rng.random()
    return arithmetic_work.write(rng, expression, flaw_at if rng.random() < flawed else None)


def collate(works: Sequence[Work], tokenizer: PreTrainedTokenizerBase) -> Batch:
    """Solutions as ids: prompt, then each step and a newline, then the end of sequence."""
    pad, bos, eos, newline = map(
        as_id,
        (
            tokenizer.pad_token_id,
            tokenizer.bos_token_id,
            tokenizer.eos_token_id,
            tokenizer.convert_tokens_to_ids("Ċ"),
        ),
    )
    pieces = [text for work in works for text in (work.prompt, *work.steps)]
    encoded = iter(tokenizer(pieces, add_special_tokens=False)["input_ids"])
    rows: list[Row] = []
    results: list[Placed] = []
    for k, work in enumerate(works):
        ids = [bos, *next(encoded)]
        labels, verdicts = [IGNORE] * len(ids), [IGNORE] * len(ids)
        for line, verdict in zip(work.steps, _verdicts(work), strict=True):
            step = [*next(encoded), newline]
            ids += step
            labels += step if verdict == RIGHT else [IGNORE] * len(step)
            verdicts += [IGNORE] * (len(step) - 1) + [verdict]
            made = countdown_problems.pair_results(line)
            if made is not None:
                results.append((k, len(ids) - 1, [d for x in made for d in _digits(x)]))
        if work.right[-1]:
            ids.append(eos)
            labels.append(eos)
            verdicts.append(IGNORE)
        rows.append((ids, labels, verdicts))
    return padded(rows, pad, results=results)


def _verdicts(work: Work) -> list[int]:
    """The verdict on each step."""
    problem = countdown.parse_prompt(work.prompt)
    state = problem[0] if problem else None
    verdicts: list[int] = []
    for line, right in zip(work.steps, work.right, strict=True):
        state = countdown.apply_step(state, line)
        if right:
            verdicts.append(RIGHT)
        elif state is None:
            verdicts.append(WRONG)
        else:
            verdicts.append(LEGAL if countdown_problems.leaves_held_out_target(line) else DEAD_END)
    return verdicts


def _digits(x: countdown.Number | None) -> list[int]:
    if x is None or x >= 10**DIGITS:
        return [NO_DIGIT] * DIGITS
    return [int(x) // 10**k % 10 for k in range(DIGITS)]


class Stream(Dataset[list[Batch]]):
    """Item k is the k-th training step: a few batches, the same for the same seed."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        schedule: Schedule,
        seed: int,
        pool: Sequence[Work] = (),
    ) -> None:
        self.tokenizer, self.schedule, self.seed, self.pool = tokenizer, schedule, seed, pool

    def __getitem__(self, k: int) -> list[Batch]:
        rng = random.Random(f"{self.seed}/{k}")
        mix = [mixture for start, mixture in self.schedule if start <= k][-1]
        deep = k % mix.deep_every == mix.deep_every - 1
        count = mix.arithmetic // 2 if deep else mix.arithmetic
        varied = [False] * mix.countdown + [True] * mix.varied
        short = [countdown_problem(rng, mix.flawed, terse=mix.terse, varied=v) for v in varied]
        if mix.rough:
            short = [rough.roughen(rng, w) if rng.random() < mix.rough else w for w in short]
        short += [arithmetic_problem(rng, mix.flawed, brief=True) for _ in range(mix.brief)]
        long = [arithmetic_problem(rng, mix.flawed, deep=deep) for _ in range(count)]
        for work in (rng.choice(self.pool) for _ in range(mix.sampled)):
            (short if countdown.parse_prompt(work.prompt) else long).append(work)
        # Flawed solutions end early: sorting by length before parting saves a third in padding.
        short.sort(key=lambda work: sum(map(len, work.steps)))
        size = -(-len(short) // _PARTS)
        parts = [*(short[k * size : (k + 1) * size] for k in range(_PARTS)), long]
        batches = [collate(part, self.tokenizer) for part in parts if part]
        whole = [chains.problem(rng, _CHAIN_FLAWED) for _ in range(mix.chains)]
        drills = [chains.drill(rng, _DRILL_FLAWED) for _ in range(mix.drills)]
        drills.sort(key=lambda problem: len(str(problem.chains[0])))
        half = len(drills) // 2
        made = [part for part in (whole, drills[:half], drills[half:]) if part]
        return [*batches, *(chain_batch.collate(part, self.tokenizer) for part in made)]
