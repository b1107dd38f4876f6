"""Endless training batches of random worked problems, each a function of a seed and its number."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerBase

from examples.tiny import (
    arithmetic_problems,
    arithmetic_solutions,
    chain_batch,
    chains,
    countdown_problems,
    countdown_solutions,
    solution_batch,
)
from examples.tiny.batch import Batch
from examples.tiny.countdown_solutions import WorkedSolution
from examples.tiny.surface_variation import vary_surface
from reason_decode.tasks import countdown

# The answer of a countdown solution is shown going wrong twice as often as an operation: a search
# that has got that far loses the game if it picks the wrong one of a few expressions.
_ANSWER_WEIGHT = 2
# Shares of the varied problems that are worked through fractions, and that begin midway.
_FRACTIONAL = 0.2
_MIDWAY = 0.4
# The short problems of a step are split into so many batches of similar lengths.
_SHORT_BATCHES = 4
# Shares of flawed lines in whole problems of chains, and in drills.
_CHAIN_FLAWED = 0.35
_DRILL_FLAWED = 0.5


class Mixture(NamedTuple):
    """The problems of one training step.

    Attributes:
        countdown: number of countdown problems of the base's own kind.
        arithmetic: number of arithmetic problems; half as many if they are deep.
        flawed: the probability that a solution is flawed.
        deep_every: one step in so many has deep arithmetic problems.
        varied: number of countdown problems with numbers and targets of any size.
        brief: number of short arithmetic problems.
        sampled: number of solutions drawn from a pool of the model's own ones.
        surface_variation: share of countdown solutions rewritten in another model's style.
        terse: see ``countdown_solution``.
        chains: number of whole problems worked in chains of equations.
        drills: number of single chains.
    """

    countdown: int = 64
    arithmetic: int = 9
    flawed: float = 0.4
    deep_every: int = 8
    varied: int = 0
    brief: int = 0
    sampled: int = 0
    surface_variation: float = 0.0
    terse: bool = False
    chains: int = 0
    drills: int = 0


Schedule = Sequence[tuple[int, Mixture]]
"""Mixtures with the training step from which each holds; the first holds from step 0."""


def countdown_solution(
    rng: random.Random, flawed: float, *, terse: bool = False, varied: bool = False
) -> WorkedSolution:
    """A random countdown problem with a worked solution.

    Args:
        rng: source of all randomness.
        flawed: the probability that the solution is flawed.
        terse: whether to spend no tokens that teach no verdict: right solutions end where a flaw
            could have been, and the work goes on past dead ends.
        varied: whether numbers and target may be of any size.
    """
    kind = rng.random() if varied else 1.0
    fractional = kind < _FRACTIONAL
    numbers, target = _countdown_problem(rng, kind, varied)
    if target not in countdown.reachable(numbers):
        return countdown_solutions.write(rng, numbers, target, 0, past_dead_ends=terse)
    answer = _ANSWER_WEIGHT if countdown.has_answer(numbers) else 0
    weights = [1] * (len(numbers) - 1) + [answer]
    (place,) = rng.choices(range(len(numbers)), weights)
    flaw_at = place if rng.random() < flawed else None
    solution = countdown_solutions.write(
        rng, numbers, target, flaw_at, fractional=fractional, past_dead_ends=terse
    )
    if terse and flaw_at is None:
        steps, right = solution.steps[: place + 1], solution.right[: place + 1]
        solution = solution._replace(steps=steps, right=right)
    return solution


def _countdown_problem(
    rng: random.Random, kind: float, varied: bool
) -> tuple[countdown.State, int]:
    if kind < _FRACTIONAL:
        return countdown_problems.through_fractions(rng)
    if kind < _FRACTIONAL + _MIDWAY:
        return countdown_problems.midway(rng)
    return countdown_problems.varied(rng) if varied else countdown_problems.solvable(rng)


def arithmetic_solution(
    rng: random.Random, flawed: float, *, deep: bool = False, brief: bool = False
) -> WorkedSolution:
    """A random arithmetic problem with a worked solution.

    Args:
        rng: source of all randomness.
        flawed: the probability that the solution is flawed.
        deep: whether the expression has nested parentheses.
        brief: whether the expression has one or two operations only.
    """
    if brief:
        expression = arithmetic_problems.short(rng)
    else:
        expression = arithmetic_problems.multi_step(rng, deep)
    # The first line of a short problem only repeats it, so the flaw comes later.
    flaw_at = 0.34 + 0.66 * rng.random() if brief else rng.random()
    return arithmetic_solutions.write(rng, expression, flaw_at if rng.random() < flawed else None)


class MixtureDataset(Dataset[list[Batch]]):
    """Item k holds the batches of the k-th training step; equal seeds give equal items.

    Args:
        tokenizer: from ``build_tokenizer``.
        schedule: the mixture of each step.
        seed: seed of all problems.
        pool: solutions that the model sampled itself.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        schedule: Schedule,
        seed: int,
        pool: Sequence[WorkedSolution] = (),
    ) -> None:
        self.tokenizer, self.schedule, self.seed, self.pool = tokenizer, schedule, seed, pool

    def __getitem__(self, k: int) -> list[Batch]:
        rng = random.Random(f"{self.seed}/{k}")
        mixture = [mixture for start, mixture in self.schedule if start <= k][-1]
        deep = k % mixture.deep_every == mixture.deep_every - 1
        return [*self._solutions(rng, mixture, deep), *self._chains(rng, mixture)]

    def _solutions(self, rng: random.Random, mixture: Mixture, deep: bool) -> list[Batch]:
        """Batches of worked solutions, those of the short problems first."""
        varied = [False] * mixture.countdown + [True] * mixture.varied
        flawed, share = mixture.flawed, mixture.surface_variation
        short = [countdown_solution(rng, flawed, terse=mixture.terse, varied=v) for v in varied]
        if share:
            short = [vary_surface(rng, x) if rng.random() < share else x for x in short]
        short += [arithmetic_solution(rng, flawed, brief=True) for _ in range(mixture.brief)]
        count = mixture.arithmetic // 2 if deep else mixture.arithmetic
        long = [arithmetic_solution(rng, flawed, deep=deep) for _ in range(count)]
        for solution in (rng.choice(self.pool) for _ in range(mixture.sampled)):
            (short if countdown.parse_prompt(solution.prompt) else long).append(solution)
        # Flawed solutions end early: batches of similar lengths save a third of the padding.
        short.sort(key=lambda solution: sum(map(len, solution.steps)))
        size = -(-len(short) // _SHORT_BATCHES)
        parts = [*(short[k * size : (k + 1) * size] for k in range(_SHORT_BATCHES)), long]
        return [solution_batch.collate(part, self.tokenizer) for part in parts if part]

    def _chains(self, rng: random.Random, mixture: Mixture) -> list[Batch]:
        """Batches of chains of equations: whole problems, shorter drills, longer drills."""
        whole = [chains.problem(rng, _CHAIN_FLAWED) for _ in range(mixture.chains)]
        drills = [chains.drill(rng, _DRILL_FLAWED) for _ in range(mixture.drills)]
        drills.sort(key=lambda problem: len(str(problem.chains[0])))
        half = len(drills) // 2
        parts = (whole, drills[:half], drills[half:])
        return [chain_batch.collate(part, self.tokenizer) for part in parts if part]
