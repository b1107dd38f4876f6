"""``reason-decode train``: train rankers and adapters on samples that are graded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reason_decode.adapters import load_adapter
from reason_decode.cli.output import json_output
from reason_decode.cli.prompts import read_all
from reason_decode.cli.sample_configs import (
    Augmentation,
    Grading,
    TrainBaselineConfig,
    TrainNATConfig,
    TrainNCEConfig,
    TrainNegativeConfig,
    TrainNGramRankerConfig,
    TrainRankerConfig,
)
from reason_decode.cli.train import report_rows, source_folder, train_on_solutions
from reason_decode.io.claim import claimed
from reason_decode.models.loading import load_model, load_padded_tokenizer
from reason_decode.training import (
    LabelledSolution,
    SamplingConfig,
    augment,
    grade_samples,
    hold_out,
    train_baseline,
    train_nat,
    train_nce,
    train_negative,
    train_ngram_ranker,
    train_ranker,
)

__all__ = [
    "run_baseline",
    "run_nat",
    "run_nce",
    "run_negative",
    "run_ngram_ranker",
    "run_ranker",
]

Graded = tuple[list[LabelledSolution], list[LabelledSolution]]
"""Right and wrong solutions."""


def run_negative(config: TrainNegativeConfig, argv: Sequence[str]) -> int:
    """Train an adapter on wrong samples."""

    def wrong_samples(_: Any) -> list[LabelledSolution]:
        return _grade(config.grading, _read_samples(config))[1]

    return train_on_solutions(config, train_negative, wrong_samples)


def run_nat(config: TrainNATConfig, argv: Sequence[str]) -> int:
    """Train a NAT adapter."""

    def right_samples(_: Any) -> list[LabelledSolution]:
        return _grade(config.grading, _read_samples(config))[0]

    return train_on_solutions(config, train_nat, right_samples)


def run_nce(config: TrainNCEConfig, argv: Sequence[str]) -> int:
    """Distil a NAT adapter."""

    def right_samples(tokenizer: Any) -> list[LabelledSolution]:
        solutions = _read_samples(config)
        right, _ = _grade(config.grading, solutions)
        return _augment(config.augmentation, config, tokenizer, solutions, right)

    return train_on_solutions(config, train_nce, right_samples)


def run_baseline(config: TrainBaselineConfig, argv: Sequence[str]) -> int:
    """Train an adapter by a baseline method."""
    with json_output(config.report, *config.input, others=[config.output]) as write:
        source = source_folder(config.model)
        tokenizer = load_padded_tokenizer(source)
        solutions = _read_samples(config)
        # Fine-tuning learns the solutions as they are, which are references.
        reference = config.training.method == "ft"
        right, wrong = (solutions, []) if reference else _grade(config.grading, solutions)
        right = _augment(config.augmentation, config, tokenizer, solutions, right)
        kept, held = hold_out(right, config.hold_out)
        others, _ = hold_out(wrong, config.hold_out)
        row = train_baseline(
            source, tokenizer, kept, others, config.output, config.training, held_out=held
        )
        return report_rows(config, [row], write)


def run_ranker(config: TrainRankerConfig, argv: Sequence[str]) -> int:
    """Train a ranker."""
    with json_output(config.report, *config.input, others=[config.output]) as write:
        source = source_folder(config.model)
        tokenizer = load_padded_tokenizer(source)
        # The text before a pair is the same for all solutions of a problem; a chat turn has none.
        one_text = tokenizer.chat_template is None
        solutions = read_all(
            config.input, config.data, config.training.separator, one_text=one_text
        )
        (right, right_held), (wrong, wrong_held) = (
            hold_out(side, config.hold_out) for side in _grade(config.grading, solutions)
        )
        held = right_held, wrong_held
        row = train_ranker(
            source, tokenizer, right, wrong, config.output, config.training, held_out=held
        )
        return report_rows(config, [row], write)


def run_ngram_ranker(config: TrainNGramRankerConfig, argv: Sequence[str]) -> int:
    """Train a linear ranker."""
    # The other trainings lock a file in their folder of checkpoints; this one has none.
    Path(config.output).resolve().parent.mkdir(parents=True, exist_ok=True)
    with (
        json_output(config.report, *config.input, others=[config.output]) as write,
        claimed(config.output),
    ):
        solutions = read_all(config.input, config.data, config.training.separator, one_text=True)
        (right, right_held), (wrong, wrong_held) = (
            hold_out(side, config.hold_out) for side in _grade(config.grading, solutions)
        )
        held = right_held, wrong_held
        row = train_ngram_ranker(right, wrong, config.output, config.training, held_out=held)
        return report_rows(config, [row], write)


def _read_samples(
    config: TrainNegativeConfig | TrainNATConfig | TrainNCEConfig | TrainBaselineConfig,
) -> list[LabelledSolution]:
    return read_all(
        config.input, config.data, config.training.separator, one_text=not config.training.chat
    )


def _grade(grading: Grading, solutions: Sequence[LabelledSolution]) -> Graded:
    """Right and wrong samples; the counts are printed."""
    bar = tqdm(solutions, desc="grading", disable=None)
    right, wrong, counts = grade_samples(bar, unanswered_wrong=grading.unanswered_wrong)
    print(counts)
    return right, wrong


def _augment(
    options: Augmentation,
    config: TrainNCEConfig | TrainBaselineConfig,
    tokenizer: Any,
    solutions: Sequence[LabelledSolution],
    right: list[LabelledSolution],
) -> list[LabelledSolution]:
    """The right samples, and new right ones that an adapter of the model samples."""
    if options.augment is None:
        return right
    # A sample is graded by the reference answer of its problem.
    problems = {x.prompt: x for x in solutions if x.answer is not None}
    model = load_adapter(load_model(config.model)[0], options.augment)
    training = config.training
    sampling = SamplingConfig(
        n=options.augment_samples,
        max_new_tokens=options.augment_tokens,
        separator=training.separator,
        chat=training.chat,
        seed=training.seed,
    )
    more = augment(model, tokenizer, right, [*problems.values()], sampling)
    print(f"{len(more) - len(right)} new right samples of {options.augment}")
    return more
