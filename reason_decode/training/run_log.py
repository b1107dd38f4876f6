"""The log of a training run: losses and metrics as rows and as a plot."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["plot", "run_metrics", "write_log"]

_NO_METRICS = {"eval_loss", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second"}
_NO_METRICS |= {"eval_model_preparation_time"}


def write_log(history: Sequence[Mapping[str, Any]], output: Path) -> None:
    """Write ``log.jsonl`` and its plot.

    Args:
        history: ``trainer.state.log_history``.
        output: folder of the run.
    """
    (output / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    plot(history, output / "loss.svg")


def run_metrics(
    history: Sequence[Mapping[str, Any]], best_step: int | None
) -> dict[str, float | None]:
    """``loss``, ``held_out_loss``, and the metrics of the held-out examples.

    Args:
        history: ``trainer.state.log_history``.
        best_step: optimizer step of the checkpoint that was kept; ``None``: the last one.
    """
    losses = [row["loss"] for row in history if "loss" in row]
    measured = [row for row in history if "eval_loss" in row]
    kept = [row for row in measured if row.get("step") == best_step] or measured
    last = kept[-1] if kept else {}
    metrics = {
        name.removeprefix("eval_"): x
        for name, x in last.items()
        if name.startswith("eval_") and name not in _NO_METRICS
    }
    return {
        "loss": losses[-1] if losses else None,
        "held_out_loss": last.get("eval_loss"),
        **metrics,
    }


def plot(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Plot the losses of a run over its optimizer steps; warn if matplotlib is not installed.

    Args:
        history: ``trainer.state.log_history``.
        path: the image; its ending chooses the format.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        warnings.warn(f"no {path.name}: pip install matplotlib to have the run drawn", stacklevel=2)
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for key, name in (("loss", "training"), ("eval_loss", "held out")):
        points = [(row["step"], row[key]) for row in history if key in row]
        if points:
            marker = "." if len(points) < 20 else ""
            axes.plot(*zip(*points, strict=True), label=name, marker=marker)
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel("loss, nats per label")
    if axes.lines:
        axes.legend()
    figure.savefig(path)
