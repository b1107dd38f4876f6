"""Particle filter: sample n solutions step by step, and resample them by their scores."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import get_args

import torch
from torch import LongTensor, Tensor

from reason_decode.core.options import Reduce, Resampling
from reason_decode.core.solutions import Cost, Trace
from reason_decode.generation.interface import Generation
from reason_decode.scorers.base import (
    Scorer,
    ScoreSpace,
    check_reduce,
    check_scorer_argument,
    default_reduce,
)
from reason_decode.strategies.arguments import (
    check_max_tokens,
    check_positive,
    check_positive_or_none,
)
from reason_decode.strategies.base import Strategy, check_num_sequences
from reason_decode.strategies.generated import GeneratedLoop
from reason_decode.strategies.step_search import Position, SearchLoop, StepSearch, Trajectory

__all__ = ["ParticleFilter", "effective_sample_size", "logp_potential", "resample"]

_LEAST = 1e-9  # probability below which a score counts as this, so that its logarithm is finite


@dataclass(frozen=True, eq=False)
class ParticleFilter(Strategy):
    r"""Sample n solutions side by side; after each step, copy good ones over bad ones by chance.

    Each solution (a particle) has a weight. After a step it is multiplied by a potential,
    ``total^(1/temperature)`` of probabilities and ``exp(total/temperature)`` of log-probabilities
    and rewards; where totals grow step by step (``reduce`` of "prod" or "sum"), by what this step
    added, so that no step counts twice. Where the effective sample size falls below
    ``min_ess * n``, n particles are drawn from the n by their weights, and all weigh the same
    again. Bad beginnings die out, but a beginning that the scorer doubts keeps its chance, which a
    search that keeps the best drops. A finished solution stays a particle; after later steps of
    others it is weighed by its last total, or, where totals grow, not again. The particle of the
    highest total is returned, finished ones first.

    Args:
        scorer: scores the steps; its splitter says where a step ends.
        tokenizer: the generator's tokenizer.
        streamer: receives the steps that all particles share, for one prompt.
        n: particles per prompt.
        temperature: of the potentials; above 1 the scores decide less, below 1 more.
        resampling: how particles are drawn: "systematic" (one random number for all, the least
            variance), "stratified" (one for each), "multinomial" (independently), or without chance
            "proportional", which is the tree search REBASE.
        min_ess: share of n; resample where the effective sample size is smaller. 1: after each
            step whose weights differ; 0: never, which is best-of-n.
        max_steps: maximum number of steps; ``None``: no limit but that of tokens.
        max_tokens: maximum number of tokens sampled per prompt, over all particles; ``None``: no
            limit.
        reduce: how the scores of a particle's steps become its total: "prod", "min", "last", "mean"
            or "sum"; ``None``: "prod" of probabilities, "mean" of log-probabilities, the "last"
            reward. The paper takes "last".

    Raises:
        ValueError: an argument is not allowed; when called: ``generate`` is asked for something
            that the strategy cannot do, such as greedy decoding.

    Source: Puri et al. 2025, 2502.01618, algorithm 1; systematic and stratified resampling, and the
    effective sample size: Doucet and Johansen 2009, "A tutorial on particle filtering", section 3;
    proportional: Wu et al. 2024, 2408.00724, section 3.2.

    Examples:
        >>> from reason_decode import ParticleFilter, tiny
        >>> t = tiny.load()
        >>> inputs = t.tokenizer(["Make 36 from 4 5 6 10.\n"], return_tensors="pt")
        >>> particles = ParticleFilter(t.prm, tokenizer=t.tokenizer, n=8)
        >>> sampling = {"do_sample": True, "max_new_tokens": 80, "return_dict_in_generate": True}
        >>> out = t.model.generate(**inputs, **sampling, custom_generate=particles)
        >>> len(out.traces[0].candidates)
        8
    """

    scorer: Scorer
    _: KW_ONLY
    n: int = 8
    temperature: float = 1.0
    resampling: Resampling = "systematic"
    min_ess: float = 1.0
    max_steps: int | None = None
    max_tokens: int | None = None
    reduce: Reduce | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scorer_argument("scorer", self.scorer)
        check_reduce(self.reduce, self.scorer)
        check_positive(n=self.n)
        check_positive_or_none(max_steps=self.max_steps)
        check_max_tokens(self.max_tokens, self.n)
        if not self.temperature > 0:
            raise ValueError(f"got temperature={self.temperature!r}; need a number above 0")
        if not 0 <= self.min_ess <= 1:
            raise ValueError(f"got min_ess={self.min_ess!r}; need a share from 0 to 1")
        if self.resampling not in get_args(Resampling):
            raise ValueError(
                f"got resampling={self.resampling!r}; need one of {', '.join(get_args(Resampling))}"
            )

    def run(
        self, generation: Generation, prompts: Sequence[str]
    ) -> tuple[LongTensor, list[Trace], Cost]:
        """Filter all prompts of the batch side by side, step after step."""
        check_num_sequences(generation, self.n, self.n, "n particles")
        reads_logits = self.scorer.reads_generation(generation.model)
        loop = _GeneratedParticleLoop if reads_logits else ParticleLoop
        return loop(self._search(), generation, prompts).filter(self)

    def _search(self) -> StepSearch:
        """The search whose rounds sample the steps: one next step for each of n trajectories."""
        return StepSearch(
            self.scorer,
            tokenizer=self.tokenizer,
            streamer=self.streamer,
            batch_rows=self.batch_rows,
            thinking_tags=self.thinking_tags,
            n=1,
            beam_width=self.n,
            max_steps=self.max_steps,
            max_tokens=self.max_tokens,
            reduce=self.reduce or default_reduce(self.scorer),
        )


class ParticleLoop(SearchLoop):
    """The rounds of a particle filter; see ``SearchLoop``.

    The trajectories of a beam are the particles.
    """

    merges_equal = False  # equal steps are different particles
    settings: ParticleFilter
    logp_weights: list[list[float]]
    """For each prompt the log-weight of each particle, up to a constant."""

    def filter(self, settings: ParticleFilter) -> tuple[LongTensor, list[Trace], Cost]:
        """Sample until every particle has ended or a limit is reached."""
        self.settings, self.logp_weights = settings, [[0.0] for _ in self.prompts]
        return self.run()

    def kept(self, p: int, new: Mapping[Trajectory, Position]) -> list[Trajectory]:
        """The particles of the next round, drawn by their weights; one may be there many times."""
        before = zip(self.beams[p], self.logp_weights[p], strict=True)
        population = [(x, w + self._potential(x, x)) for x, w in before if x.branch.stopped]
        for path, (row, _) in new.items():
            k = self.active[row][1]
            weight = self.logp_weights[p][k] + self._potential(path, self.beams[p][k])
            population.append((path, weight))
        paths = [path for path, _ in population]
        weights = torch.tensor([weight for _, weight in population], dtype=torch.float64)
        if not self._is_uneven(paths, weights):
            self.logp_weights[p] = weights.tolist()
            return paths
        self.logp_weights[p] = [0.0] * len(paths)
        return [paths[i] for i in resample(weights.softmax(0), self.settings.resampling)]

    def _potential(self, path: Trajectory, before: Trajectory) -> float:
        """The log-potential of a particle, given what it was before this step."""
        space, temperature = self.strategy.scorer.score_space, self.settings.temperature
        found = logp_potential(path.total, space, temperature)
        if self.strategy.reduce in ("prod", "sum") and len(before.scores):
            found -= logp_potential(before.total, space, temperature)
        return found

    def _is_uneven(self, paths: Sequence[Trajectory], logp_weights: Tensor) -> bool:
        """True if particles can continue and their weights differ enough to be resampled."""
        if all(path.branch.stopped for path in paths):
            return False
        size = effective_sample_size(logp_weights.softmax(0))
        return size < self.settings.min_ess * len(paths) * (1 - 1e-9)


class _GeneratedParticleLoop(GeneratedLoop, ParticleLoop):
    """The rounds of a particle filter whose scorer reads the logits of the generator."""


def logp_potential(total: float, space: ScoreSpace, temperature: float = 1.0) -> float:
    """The logarithm of the factor that a particle's weight is multiplied by, after a step.

    ``log(total) / temperature`` of probabilities, ``total / temperature`` of others.

    Args:
        total: the particle's total.
        space: meaning of the total.
        temperature: above 1, scores decide less.

    Examples:
        >>> round(logp_potential(0.25, "probability", temperature=2), 4) == round(-0.6931, 4)
        True
        >>> logp_potential(-3.0, "log_probability")
        -3.0
    """
    if space == "probability":
        total = float(torch.tensor(max(total, _LEAST), dtype=torch.float64).log())
    return total / temperature


def effective_sample_size(weights: Tensor) -> float:
    """The number of equal particles that are worth as much as these, ``1 / sum_i w_i^2``.

    Args:
        weights: float (n,), with sum 1.

    Examples:
        >>> effective_sample_size(torch.tensor([0.5, 0.5, 0.0, 0.0]))
        2.0
    """
    return float(1 / (weights * weights).sum())


def resample(weights: Tensor, resampling: Resampling = "systematic") -> list[int]:
    """Ascending indices of n particles drawn from n, index i on average ``n * w_i`` times.

    ``index_k = min {i: w_0 + ... + w_i > (k + u_k) / n}`` with u uniform in [0, 1): one u for all k
    ("systematic", so that index i is drawn floor(n w_i) or ceil(n w_i) times), or one for each
    ("stratified"); "multinomial" draws independently. "proportional" draws nothing: the greatest
    weight first, index i is taken ``ceil(n w_i)`` times while there is room.

    Args:
        weights: float (n,), with sum 1.
        resampling: the scheme.

    Examples:
        >>> resample(torch.tensor([0.5, 0.0, 0.25, 0.25]))
        [0, 0, 2, 3]
    """
    n = len(weights)
    if resampling == "proportional":
        # A share such as 0.25 times 4 may be a hair above 1.
        counts = (n * weights - 1e-9).ceil().long()
        order = weights.argsort(descending=True, stable=True)
        return sorted(order.repeat_interleave(counts[order])[:n].tolist())
    if resampling == "multinomial":
        return sorted(torch.multinomial(weights, n, replacement=True).tolist())
    u = torch.rand(1 if resampling == "systematic" else n, dtype=torch.float64)
    places = (torch.arange(n, dtype=torch.float64) + u) / n
    found = torch.searchsorted(weights.double().cumsum(0), places, right=True)
    # Rounding may leave the sum of all weights below the last place.
    return found.clamp(max=int(weights.nonzero().max())).tolist()
