"""Options of decoding: how candidates are sampled, scored and chosen, and where."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args

from reason_decode.core.model_options import (
    ABOVE_0,
    ModelOptions,
    PromptOptions,
    SamplingOptions,
)
from reason_decode.core.solution_options import SolutionOptions, ThoughtOptions
from reason_decode.core.voting import VoteWeighting, check_vote_weighting

__all__ = [
    "PLAIN",
    "CalibrationMethod",
    "EngineOptions",
    "GenerationOptions",
    "Maximise",
    "Reduce",
    "Resampling",
    "ScorerOptions",
    "ServerName",
    "StrategyName",
    "Supervision",
    "check_at_least_one",
    "check_choice",
    "flatten_options",
]

StrategyName = Literal[
    "greedy",
    "sample",
    "best-of-n",
    "step-search",
    "particle-filter",
    "self-consistency",
    "rationale-guided",
]
Supervision = Literal["implicit", "explicit"]
Reduce = Literal["prod", "min", "last", "mean", "sum"]
ServerName = Literal["auto", "vllm", "sglang", "llama.cpp", "transformers", "openai", "chat"]
Resampling = Literal["systematic", "stratified", "multinomial", "proportional"]
CalibrationMethod = Literal["isotonic", "platt"]
"""Forms of a calibration; ``evaluation.answer_calibration.fit_calibration`` defines both."""
Maximise = Literal["f1", "exact"]
"""Targets of the threshold of first errors: their F1, or the share located exactly."""

PLAIN: tuple[StrategyName, ...] = ("greedy", "sample")
"""Strategies that compare no candidates: plain ``generate``."""
_SCORED = ("best-of-n", "step-search", "particle-filter")
_GUIDED = (*_SCORED, "self-consistency", "rationale-guided")
# Options that only some strategies have: their defaults, those strategies, and what they do.
_OF_STRATEGIES: dict[str, tuple[Any, tuple[str, ...], str]] = {
    "beam_width": (1, ("step-search",), "has a beam"),
    "subtrees": (1, ("step-search",), "has subtrees"),
    "margin": (None, ("step-search",), "drops trajectories"),
    "lookahead": (0, ("step-search",), "looks ahead"),
    "max_tokens": (None, _GUIDED, "have a budget"),
    "vote_weighting": (None, ("self-consistency",), "weighs votes"),
    "vote_top": (1.0, ("self-consistency",), "has votes"),
    "reject": (None, ("best-of-n",), "samples whole solutions"),
    "reject_every": (1, ("best-of-n",), "samples whole solutions"),
    "vote_warm_up": (None, ("self-consistency",), "has votes"),
    "vote_check_every": (256, ("self-consistency",), "has votes"),
    "early_stop": (None, ("self-consistency",), "stops early"),
    "score_temperature": (1.0, ("particle-filter",), "resamples by scores"),
    "resampling": ("systematic", ("particle-filter",), "resamples by scores"),
    "supervision": ("implicit", ("rationale-guided",), "is supervised by rationales"),
    "reduce": (None, _SCORED, "reduce the scores of steps"),
}


def check_at_least_one(options: Any, *names: str) -> None:
    """Raise ``ValueError`` if one of these fields of a config is a number below 1."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"got {name}={value}; need at least 1")


def check_choice(options: Any, name: str, choices: Sequence[Any]) -> None:
    """Raise ``ValueError`` if a field of a config has a value that is not among the choices."""
    value = getattr(options, name)
    if value not in choices:
        raise ValueError(f"got {name}={value!r}; need one of {', '.join(map(str, choices))}")


def flatten_options(config: Any) -> dict[str, Any]:
    """Name -> value of the fields of a config and of the configs nested in it."""
    found: dict[str, Any] = {}
    for one in fields(config):
        value = getattr(config, one.name)
        found |= flatten_options(value) if is_dataclass(value) else {one.name: value}
    return found


@dataclass(frozen=True, kw_only=True)
class ScorerOptions:
    """The scorer of candidates or steps.

    Args:
        scorer: scorer of candidates or steps: ``tiny``, a folder or Hub id of a reward model, a
            word such as ``likelihood`` or ``rationale``, or ``word=folder`` (default: ``tiny``
            where the generator is ``tiny``, too; a vote has none).
        scorer_endpoint: address of an OpenAI-compatible server whose chat model is the scorer, such
            as ``http://localhost:8000/v1``.
        scorer_model: name of the model at ``scorer_endpoint``.
        scorer_layout: folder or Hub id of a reward model that ``scorer_endpoint`` serves (``vllm
            serve MODEL --runner pooling``), or ``format=folder``; its config and tokenizer lay the
            text out (default: the model is a chat model, which is asked yes or no).
        likelihood_model: model that measures how likely a step is given a rationale (default: the
            model that writes the rationales).
        discount: of rationale scorers, weight of each token of a step relative to the one before.
        contrastive: of rationale scorers, subtract the log-probability without the rationale.
        length_norm: of rationale scorers, divide a step's log-probability by its tokens.

    Raises:
        ValueError: two options exclude each other, or the discount is out of range.
    """

    scorer: str | None = None
    scorer_endpoint: str | None = None
    scorer_model: str | None = None
    scorer_layout: str | None = None
    likelihood_model: str | None = None
    discount: float = 1.0
    contrastive: bool = False
    length_norm: bool = True

    def __post_init__(self) -> None:
        if (self.scorer_endpoint is None) != (self.scorer_model is None):
            raise ValueError(
                f"got scorer_endpoint={self.scorer_endpoint} and scorer_model={self.scorer_model}; "
                "give both, the server's address and the model's name there"
            )
        if self.scorer is not None and self.scorer_endpoint is not None:
            raise ValueError(
                f"got scorer={self.scorer} and scorer_endpoint={self.scorer_endpoint}; give one"
            )
        if self.scorer_layout is not None and self.scorer_endpoint is None:
            raise ValueError(
                f"got scorer_layout={self.scorer_layout} without scorer_endpoint; a reward model "
                "that is loaded here is named as scorer"
            )
        if not 0 < self.discount <= 1:
            raise ValueError(f"got discount={self.discount}; need a number above 0, at most 1")

    @property
    def is_given(self) -> bool:
        """True if a scorer is named."""
        return self.scorer is not None or self.scorer_endpoint is not None


@dataclass(frozen=True, kw_only=True)
class GenerationOptions:
    """Options of sampling candidates and choosing among them.

    Args:
        strategy: decoding strategy.
        model: generator: ``tiny``, a folder or a Hub id; its name at the server of ``engine``.
        n: candidates a prompt, next steps a trajectory of step-search, or particles.
        beam_width: trajectories that step-search keeps.
        subtrees: groups of the beam of step-search that are selected apart from each other.
        margin: step-search drops trajectories whose score is lower than the best by more than this.
        lookahead: steps that step-search decodes past a candidate before it scores it.
        supervision: of rationale-guided, ``implicit``: rationales score the steps; ``explicit``:
            the generator reads them.
        reduce: how step scores become the score of a solution (default: ``last`` for step-search;
            for others ``prod`` of probabilities, ``mean`` of log-probabilities, the ``last``
            reward).
        reject: of best-of-n, share of the unfinished solutions, those of lowest score so far, that
            are given up on the way.
        reject_every: steps between two such rejections.
        score_temperature: of particle-filter; above 1 the scores decide less, below 1 more.
        resampling: of particle-filter, how particles are drawn: ``systematic``, ``stratified``,
            ``multinomial``, or ``proportional``, without chance (REBASE).
        vote_weighting: of a vote by a scorer, the weight, given the score s: ``s``, ``1+s``,
            ``1+2s``, ``exp(s)``, ``sigmoid(s)``, ``borda`` (by rank), or the formula that ``train
            vote-weights`` prints (default: as the scorer has it).
        vote_top: of a vote by a scorer, share of the solutions that vote, those of highest score.
        vote_warm_up: of a vote by confidence, solutions sampled whole, after which those that fall
            below the least of their ``vote_top`` share are cut off.
        vote_check_every: tokens between two checks of a solution after the warm-up.
        early_stop: end a vote early: ``decided``, when no further sample can change it, or the
            confidence from which on it ends.
        max_new_tokens: tokens of a solution (default: that of the task, or 256).
        max_tokens: budget of sampled tokens a prompt, over all candidates.
        seed: seed of the sampling.
        sampling: how tokens are drawn.
        loading: how the generator is loaded.
        prompting: how prompts are rendered.
        scoring: the scorer.
        solutions: where the steps of solutions end.
        thoughts: the thoughts in solutions.

    Raises:
        ValueError: a value is out of range, or options do not go together.
    """

    strategy: StrategyName
    model: str = "tiny"
    n: int = 8
    beam_width: int = 1
    subtrees: int = 1
    margin: float | None = None
    lookahead: int = 0
    supervision: Supervision = "implicit"
    reduce: Reduce | None = None
    reject: float | None = None
    reject_every: int = 1
    score_temperature: float = 1.0
    resampling: Resampling = "systematic"
    vote_weighting: VoteWeighting | None = None
    vote_top: float = 1.0
    vote_warm_up: int | None = None
    vote_check_every: int = 256
    early_stop: Literal["decided"] | float | None = None
    max_new_tokens: int | None = None
    max_tokens: int | None = None
    seed: int = 0
    sampling: SamplingOptions = field(default_factory=SamplingOptions)
    loading: ModelOptions = field(default_factory=ModelOptions)
    prompting: PromptOptions = field(default_factory=PromptOptions)
    scoring: ScorerOptions = field(default_factory=ScorerOptions)
    solutions: SolutionOptions = field(default_factory=SolutionOptions)
    thoughts: ThoughtOptions = field(default_factory=ThoughtOptions)

    def __post_init__(self) -> None:
        check_choice(self, "strategy", get_args(StrategyName))
        check_choice(self, "supervision", get_args(Supervision))
        check_choice(self, "reduce", (*get_args(Reduce), None))
        check_choice(self, "resampling", get_args(Resampling))
        check_vote_weighting(self.vote_weighting)
        check_at_least_one(self, "n", "beam_width", "subtrees", "max_tokens", "max_new_tokens")
        check_at_least_one(self, "reject_every", "vote_warm_up", "vote_check_every")
        if self.strategy != "greedy" and self.sampling.temperature == 0:
            raise ValueError(f"got temperature=0 with {self.strategy}; {ABOVE_0}")
        if not self.score_temperature > 0:
            raise ValueError(
                f"got score_temperature={self.score_temperature}; need a number above 0"
            )
        if not -(2**63) <= self.seed < 2**63:
            raise ValueError(f"got seed={self.seed}; need a whole number of at most 63 bits")
        for name, (default, strategies, does) in _OF_STRATEGIES.items():
            value = getattr(self, name)
            if value != default and self.strategy not in strategies:
                raise ValueError(
                    f"got {name}={value} with {self.strategy}; only {' and '.join(strategies)} "
                    f"{does}"
                )
        self._check_scorer()

    def _check_scorer(self) -> None:
        if self.strategy in PLAIN:
            if self.scoring.is_given:
                raise ValueError(
                    f"got a scorer with {self.strategy}; only {' and '.join(_GUIDED)} have one"
                )
        whole = {
            "rationale-guided": "whose rationales are about the whole text",
            "particle-filter": "which scores whole texts",
        }
        if self.strategy in whole and self.thoughts.score_part != "both":
            raise ValueError(
                f"got score_part={self.thoughts.score_part} with {self.strategy}, "
                f"{whole[self.strategy]}; drop it"
            )
        if not self.scoring.is_given:
            self._check_unscored()
        if self.strategy in PLAIN:
            return
        if self.strategy != "self-consistency" and self.model != "tiny":
            if not self.scoring.is_given:
                raise ValueError(
                    f"got {self.strategy} of model={self.model} without a scorer; name one as "
                    "scorer (--scorer): a folder or Hub id of a reward model, likelihood, or tiny "
                    "for the small packaged one"
                )

    def _check_unscored(self) -> None:
        """Raise if there are options of scored solutions, and nothing is scored."""
        if self.strategy not in PLAIN and self.strategy != "self-consistency":
            return
        if self.thoughts.score_part != "both" or self.solutions != SolutionOptions():
            raise ValueError(
                f"got options of scored solutions (score_part, step_separator, step_pattern, "
                f"step_tokens) with {self.strategy} without a scorer; drop them, or name a scorer"
            )

    @property
    def compares_candidates(self) -> bool:
        """True if the strategy chooses among candidates, so that there are traces."""
        return self.strategy not in PLAIN


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """The engine that samples: transformers or vLLM in this process, or OpenAI-compatible servers.

    Args:
        engine: ``transformers`` or ``vllm``, which load the generator into this process; or the
            address of an OpenAI-compatible server that samples (vLLM, SGLang, llama.cpp,
            transformers serve), such as ``http://localhost:8000/v1``. Several addresses, with
            commas between them, share the prompts. Scorers run here.
        server: kind of server; ``auto``: as its ``/models`` says.
        seeds: send a seed with each request to a server.
        api_key_env: environment variable that holds the server's API key.
        concurrency: requests at a time, for each address.
        attempts: attempts at one request.
        timeout: seconds without a byte from the server after which an attempt fails.
        total_timeout: seconds after which an attempt fails, whatever has come.
        extra_body: fields to add to every request, such as ``{"top_k": 20}``.
        tokenizer: folder or Hub id of the tokenizer of the server's model (default: that of the
            model's name).

    Raises:
        ValueError: a value is out of range, or there are options of a server but no server.
    """

    engine: str = "transformers"
    server: ServerName = "auto"
    seeds: bool = True
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    attempts: int = 6
    timeout: float = 600.0
    total_timeout: float = 3600.0
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        check_at_least_one(self, "concurrency", "attempts")
        check_choice(self, "server", get_args(ServerName))
        for name in ("timeout", "total_timeout"):
            if not getattr(self, name) > 0:
                raise ValueError(f"got {name}={getattr(self, name)}; it must be positive")
        if not isinstance(self.extra_body, Mapping):
            raise ValueError(
                f'got extra_body={self.extra_body!r:.80}; need an object, such as {{"top_k": 20}}'
            )
        for url in self.urls:
            if not url.startswith(("http://", "https://")):
                raise ValueError(
                    f"got engine={self.engine}; need transformers, vllm, or the address of a "
                    "server, such as http://localhost:8000/v1"
                )
        if self.urls:
            return
        own = () if self.engine == "vllm" else (("tokenizer", None), ("extra_body", {}))
        for name, default in (("server", "auto"), *own):
            if (value := getattr(self, name)) != default:
                raise ValueError(
                    f"got {name}={value} with engine={self.engine}, which asks no server; name one "
                    "as engine, or drop it"
                )

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of the servers; none where the model is in this process."""
        return () if self.engine in ("transformers", "vllm") else tuple(self.engine.split(","))

    def check_model(self, loading: ModelOptions) -> None:
        """Raise if transformers does not load a model, and there are options of its loading.

        Raises:
            ValueError: there are.
        """
        for name, value in vars(loading).items() if self.engine != "transformers" else ():
            if value not in (None, "auto") and (self.urls or name != "dtype"):
                raise ValueError(
                    f"got {name}={value} with engine={self.engine}, which is of a model in this "
                    "process; drop it"
                )
