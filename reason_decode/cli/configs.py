"""Configs of the commands: their own options beside those of the library."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from reason_decode.cli.calibration_configs import AbstainOptions
from reason_decode.core.options import (
    PLAIN,
    EngineOptions,
    GenerationOptions,
    Maximise,
    Reduce,
    ScorerOptions,
    check_at_least_one,
    check_choice,
)
from reason_decode.core.solution_options import SolutionOptions, ThoughtOptions
from reason_decode.io.tables import is_hub_dataset
from reason_decode.runs.options import RunOptions
from reason_decode.tasks.options import TaskOptions

__all__ = [
    "DemoConfig",
    "EvalConfig",
    "GenerateConfig",
    "RerankConfig",
    "TraceConfig",
    "VerifyConfig",
]

Format = Literal[
    "auto",
    "bigbench-mistake",
    "processbench",
    "prm800k",
    "stepwise",
    "math-shepherd",
    "columns",
]
FOLDS = 5


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Solve one problem greedily and with guidance, step by step.

    Args:
        problem: four numbers that are to make 24 (``4 5 6 10``) or another number (``4 5 6 10 ->
            36``), or an expression to work out.
        generation: how the guided solution is sampled and chosen.
    """

    problem: str = "1 4 4 8"
    generation: GenerationOptions = field(
        default_factory=lambda: GenerationOptions(strategy="step-search")
    )

    def __post_init__(self) -> None:
        if self.generation.strategy in PLAIN:
            raise ValueError(
                f"got strategy={self.generation.strategy}; the demo compares a strategy with "
                "greedy decoding, so name one that compares candidates, such as step-search"
            )
        if self.generation.model != "tiny" and not self.generation.scoring.is_given:
            raise ValueError(
                f"got model={self.generation.model} without a scorer, which the demo shows the "
                "scores of; name one as scorer (--scorer)"
            )


@dataclass(frozen=True, kw_only=True)
class GenerateConfig:
    """Continue the prompts of a file; the same command resumes a run that was stopped.

    Args:
        input: JSON Lines of ``{"prompt": text}`` or ``{"messages": [...]}``, compressed (.gz) or
            not. A prompt is a user's turn where the model has a chat template.
        output: JSON Lines of id (line number of the input), prompt or messages, completion and
            score; ``-`` for standard output. Rows that the file has already are kept.
        limit: only the first prompts, this many.
        batch_size: prompts a batch.
        trace: write every candidate and score, too.
        generation: how completions are sampled and chosen.
        engine: the engine that samples.
        abstaining: answers that are held back.
        run: how the prompts are divided among processes.
    """

    input: str
    output: str
    limit: int | None = None
    batch_size: int = 8
    trace: bool = False
    generation: GenerationOptions = field(
        default_factory=lambda: GenerationOptions(strategy="best-of-n")
    )
    engine: EngineOptions = field(default_factory=EngineOptions)
    abstaining: AbstainOptions = field(default_factory=AbstainOptions)
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        check_at_least_one(self, "batch_size", "limit")
        self.engine.check_model(self.generation.loading)
        self.abstaining.check_strategy(self.generation)


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Measure a strategy on a task; the same command resumes a run that was stopped.

    Args:
        input: the task's file, or the id of a dataset on the Hub, such as openai/gsm8k.
        rows: indices from 0 (game24: ranks) as FIRST:LAST, LAST not included, such as 901:1001.
        limit: only the first of these rows, this many.
        batch_size: prompts a batch.
        output: write the result, texts included, as JSON to this file; ``-`` for standard output.
        trace: write every candidate and score to this file, JSON Lines for ``reason-decode trace``.
        problems: the task and its prompts.
        generation: how solutions are sampled and chosen.
        engine: the engine that samples.
        abstaining: answers that are held back.
        run: how the items are divided among processes.
    """

    input: str
    generation: GenerationOptions
    problems: TaskOptions = field(default_factory=TaskOptions)
    rows: str | None = None
    limit: int | None = None
    batch_size: int = 8
    output: str | None = None
    trace: str | None = None
    engine: EngineOptions = field(default_factory=EngineOptions)
    abstaining: AbstainOptions = field(default_factory=AbstainOptions)
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        check_at_least_one(self, "batch_size", "limit")
        self.engine.check_model(self.generation.loading)
        self.abstaining.check_strategy(self.generation)
        if self.input == self.problems.few_shot_input and not is_hub_dataset(self.input):
            raise ValueError(
                f"got {self.input} as input and as few_shot_input; a prompt would show the "
                "solution that it asks for: name another file of solved problems"
            )
        if self.trace is not None and not self.generation.compares_candidates:
            raise ValueError(
                f"got trace with {self.generation.strategy}, which compares no candidates: drop it"
            )


@dataclass(frozen=True, kw_only=True)
class RerankConfig:
    """Choose among solutions that any model wrote, by a scorer, and grade the choices.

    Args:
        input: JSON Lines of a problem (``prompt``, ``question`` or, of game24, ``puzzle``),
            ``samples``, and ``correct`` or ``answer``, compressed (.gz) or not.
        output: write the result, each choice included, as JSON to this file; ``-`` for standard
            output.
        reduce: how step scores become the score of a solution (default: ``prod`` of probabilities,
            ``mean`` of log-probabilities, the ``last`` reward).
        problems: the task, which grades the choices.
        scoring: the scorer.
        solutions: where the steps of solutions end.
        thoughts: the thoughts in solutions.
    """

    input: str
    output: str | None = None
    reduce: Reduce | None = None
    problems: TaskOptions = field(default_factory=TaskOptions)
    scoring: ScorerOptions = field(default_factory=ScorerOptions)
    solutions: SolutionOptions = field(default_factory=SolutionOptions)
    thoughts: ThoughtOptions = field(default_factory=ThoughtOptions)

    def __post_init__(self) -> None:
        check_choice(self, "reduce", (*get_args(Reduce), None))


@dataclass(frozen=True, kw_only=True)
class VerifyConfig:
    """Find the first wrong step of given solutions; the same command resumes a stopped run.

    The threshold below which a step is wrong is calibrated on the prompts of the other folds unless
    one of ``calibrate_share``, ``calibrate_on`` and ``threshold`` is given.

    Args:
        input: labelled solutions: a file (JSON Lines, JSON or CSV, compressed (.gz) or not, or
            Parquet) or a dataset of the Hub.
        format: name of the format of the rows (default: detected at the first row).
        neutral: label of PRM800K's rating 0.
        output: write the result, step scores included, as JSON to this file; ``-`` for standard
            output.
        batch_size: solutions a batch.
        prompt_suffix: end of every prompt, added where it is missing (default: the step separator
            for scorers that read prompt and steps as one text, else nothing).
        folds: number of folds; each solution is tested by the threshold that is best on the prompts
            of the other folds (default: 5).
        calibrate_share: calibrate the threshold on this share of the prompts, test on the rest.
        calibrate_on: calibrate the threshold on this file of labelled solutions.
        threshold: a step is wrong if its score is lower; nothing is calibrated.
        maximise: target of the calibration: ``f1``, or ``exact``, the share of solutions whose
            first error is found exactly.
        scoring: the scorer of steps.
        thoughts: the thoughts in solutions.
        run: how the solutions are divided among processes.
    """

    input: str
    format: Format = "auto"
    neutral: Literal["positive", "negative"] = "positive"
    output: str | None = None
    batch_size: int = 32
    prompt_suffix: str | None = None
    folds: int | None = None
    calibrate_share: float | None = None
    calibrate_on: str | None = None
    threshold: float | None = None
    maximise: Maximise = "f1"
    scoring: ScorerOptions = field(default_factory=lambda: ScorerOptions(scorer="tiny"))
    thoughts: ThoughtOptions = field(default_factory=ThoughtOptions)
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        check_choice(self, "format", get_args(Format))
        check_choice(self, "maximise", get_args(Maximise))
        check_choice(self, "neutral", ("positive", "negative"))
        check_at_least_one(self, "batch_size")
        ways = ("folds", "calibrate_share", "calibrate_on", "threshold")
        given = [name for name in ways if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"got {' and '.join(given)}; give one of them")

    @property
    def folds_or_none(self) -> int | None:
        """Number of folds; ``None`` where the threshold comes from elsewhere."""
        others = (self.calibrate_share, self.calibrate_on, self.threshold)
        return FOLDS if self.folds is None and others == (None, None, None) else self.folds


@dataclass(frozen=True, kw_only=True)
class TraceConfig:
    """Show the candidates and scores of a run, as a page for the browser or in the terminal.

    Args:
        input: JSON Lines that ``generate --trace`` or ``eval --trace`` wrote, compressed (.gz) or
            not.
        output: write one HTML page that needs no network to this file; else print the traces.
        title: title of the page (default: the names of the files).
        id: only the traces of this id.
        limit: only the first traces, this many.
    """

    input: tuple[str, ...]
    output: str | None = None
    title: str | None = None
    id: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        check_at_least_one(self, "limit")
        if not self.input:
            raise ValueError("got no input; name a file that `generate --trace` wrote")
