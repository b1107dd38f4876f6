"""``reason-decode train``: train a process or an outcome reward model."""

from collections.abc import Callable, Sequence
from typing import Any

from reason_decode.cli.output import json_output
from reason_decode.cli.prompts import read_all
from reason_decode.cli.training_configs import TrainFiles, TrainORMConfig, TrainPRMConfig
from reason_decode.io.console import table
from reason_decode.models.loading import load_padded_tokenizer, packaged
from reason_decode.training import LabelledSolution, hold_out, train_orm, train_prm

__all__ = [
    "read_steps",
    "report_rows",
    "run_orm",
    "run_prm",
    "source_folder",
    "train_on_solutions",
]


def run_prm(config: TrainPRMConfig, argv: Sequence[str]) -> int:
    """Train a process reward model."""
    return train_on_solutions(config, train_prm, lambda _: read_steps(config))


def run_orm(config: TrainORMConfig, argv: Sequence[str]) -> int:
    """Train an outcome reward model."""
    # The tokenizer's chat template separates the prompt from the answer.
    return train_on_solutions(
        config,
        train_orm,
        lambda _: read_all(config.input, config.data, config.training.separator, one_text=False),
    )


def train_on_solutions(
    config: Any, train: Callable[..., dict[str, Any]], read: Callable[[Any], list[LabelledSolution]]
) -> int:
    """Train on solutions, a share of which is held out; write and print counts and losses.

    Args:
        config: the files, with ``training``, the config of ``train``.
        train: such as ``train_prm``.
        read: the solutions, given the tokenizer.
    """
    with json_output(config.report, *config.input, others=[config.output]) as write:
        source = source_folder(config.model)
        tokenizer = load_padded_tokenizer(source)
        kept, held = hold_out(read(tokenizer), config.hold_out)
        row = train(source, tokenizer, kept, config.output, config.training, held_out=held)
        return report_rows(config, [row], write)


def source_folder(model: str) -> str:
    """The folder or Hub id of a model to start from; ``tiny`` is the packaged base."""
    return str(packaged("base")) if model == "tiny" else model


def report_rows(
    config: TrainFiles, rows: Sequence[dict[str, Any]], write: Any, folders: str = ""
) -> int:
    """Write and print counts and losses."""
    write({"rows": rows})
    names = dict.fromkeys(name for row in rows for name in row if name != "chosen")
    shown = [{name.replace("_", " "): _short(row.get(name)) for name in names} for row in rows]
    print(table(shown))
    print(f"saved in {config.output}{folders}")
    return 0


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)


def read_steps(config: TrainPRMConfig) -> list[LabelledSolution]:
    """The solutions with labelled steps in all files; the counts of each file are printed."""
    training = config.training
    return read_all(
        config.input,
        config.data,
        training.separator,
        one_text=training.head == "token-classification",
        neutral="keep" if training.num_labels == 3 else config.steps.neutral,
        until_first_error=not config.steps.all_steps,
    )
