"""``reason-decode train calibration``: how probably is an answer right?"""

from collections.abc import Sequence
from typing import Any

from reason_decode.cli.calibration_configs import TrainCalibrationConfig
from reason_decode.cli.output import json_output, path_of
from reason_decode.evaluation.answer_calibration import calibration_report, fit_calibration
from reason_decode.io.claim import claimed
from reason_decode.io.console import interval, percent, table
from reason_decode.io.jsonl import check_writable
from reason_decode.io.read_report import Reject
from reason_decode.io.tables import read_table

__all__ = ["run"]


def run(config: TrainCalibrationConfig, argv: Sequence[str]) -> int:
    """Fit, write the calibration, and print how it does on answers that it did not see."""
    report = path_of(config.report)
    check_writable(config.output, inputs=config.input, outputs=[report] if report else [])
    with claimed(config.output):
        with json_output(config.report, *config.input, others=[config.output]) as write:
            values, correct, rejected = _read(config)
            fitted = fit_calibration(values, correct, value=config.value, method=config.method)
            found = calibration_report(values, correct, method=config.method, folds=config.folds)
            fitted.save(config.output)
            write({"value": config.value, "method": config.method, **found})
            print(table([_row(level) for level in found["levels"]]))
            print(
                f"{found['answers']} answers, {config.folds} folds: mean squared error "
                f"{found['brier']:.4f}, of their mean accuracy alone {found['brier_constant']:.4f}"
            )
            for reject in rejected:
                print(f"set aside: row {reject.row}: {reject.reason}")
    return 0


def _read(
    config: TrainCalibrationConfig,
) -> tuple[list[float | None], list[bool], list[Reject]]:
    """The value and the grade of each row, and the rows that lack them."""
    values: list[float | None] = []
    correct: list[bool] = []
    rejected: list[Reject] = []
    for path in config.input:
        rows, broken = read_table(path)
        rejected += broken
        for number, row in rows:
            value, right = _number(row.get(config.value)), row.get("correct")
            if value is None or right not in (0, 1, "0", "1", "true", "false", "True", "False"):
                reason = f"need `correct` and a number as `{config.value}`; got {list(row)}"
                rejected.append(Reject(number, reason))
                continue
            values.append(value)
            correct.append(str(right).lower() in ("1", "true"))
    if not values:
        why = f"; row {rejected[0].row}: {rejected[0].reason}" if rejected else ""
        raise ValueError(
            f"{', '.join(config.input)} hold no graded answer with {config.value}{why}. Rows of "
            "`eval` have a score, and those of a vote agreement"
        )
    return values, correct, rejected


def _number(value: Any) -> float | None:
    """The finite number of a cell; ``None`` if it holds none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _row(level: dict[str, Any]) -> dict[str, str]:
    return {
        "probability from": f"{level['level']:.2f}",
        "answered": str(level["answered"]),
        "right": percent(level["accuracy"]),
        "95 % interval": interval(level["ci95"]),
    }
