"""What became of documents and rationales: counts by stage and source, and a picture."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Report", "count", "draw_deltas"]

BIN = 0.1  # nats; what a picture of deltas can tell apart


@dataclass
class Report:
    """Counts of a run.

    Attributes:
        documents: source -> what became of its documents -> how many: ``taken``, then the stage
            that set them aside, or ``mined``.
        rationales: source -> what became of them -> how many: ``written``, then the stage that
            dropped them, or ``kept``.
        reasons: stage -> kind of reason -> how many documents or rationales.
        deltas: source -> ``floor(delta / 0.1)`` -> how many rationales.
    """

    documents: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    rationales: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    deltas: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    def to_dict(self) -> dict[str, Any]:
        """The counts, ready for JSON; deltas by the lower ends of their bins, in nats."""
        deltas = {
            source: {f"{BIN * k:.1f}": counts[k] for k in sorted(counts)}
            for source, counts in self.deltas.items()
        }
        named = ("documents", "rationales", "reasons")
        counts = {
            name: {key: dict(found) for key, found in getattr(self, name).items()} for name in named
        }
        return counts | {"deltas": deltas}


def count(report: Report, row: Mapping[str, Any]) -> None:
    """Add a document's result to a report.

    Args:
        report: gets the counts.
        row: see ``to_row``.
    """
    source = row["source"]
    report.documents[source].update(["taken", row["stage"] or "mined"])
    if row["reason"]:
        report.reasons[row["stage"]][_kind(row["reason"])] += 1
    for record in row["records"]:
        report.rationales[source].update(
            ["written", record["stage"] if record["reason"] else "kept"]
        )
        if record["reason"]:
            report.reasons[record["stage"]][_kind(record["reason"])] += 1
        if record["delta"] is not None:
            report.deltas[source][int(record["delta"] // BIN)] += 1


def _kind(reason: str) -> str:
    return reason.partition(":")[0]


def draw_deltas(report: Report, thresholds: float | Mapping[str, float], path: str | Path) -> bool:
    """Draw how the deltas of each source are spread; without matplotlib, warn and go on.

    Args:
        report: has the deltas.
        thresholds: as for ``keep``; a line each.
        path: of the picture; its ending says what kind.

    Returns:
        Whether there was something to draw, and something to draw it with.
    """
    path = Path(path)
    if not report.deltas:
        return False
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        warnings.warn(f"no {path.name}: pip install matplotlib to have it drawn", stacklevel=2)
        return False
    figure = Figure(figsize=(7, 2 + 1.6 * len(report.deltas)), layout="constrained")
    grid = figure.subplots(len(report.deltas), 1, squeeze=False, sharex=True)
    for axes, (source, counts) in zip(grid[:, 0], report.deltas.items(), strict=True):
        least = thresholds
        if isinstance(thresholds, Mapping):
            least = thresholds.get(source, thresholds.get("", 0.0))
        axes.bar([BIN * k for k in counts], list(counts.values()), width=BIN, align="edge")
        axes.axvline(least, color="black", linestyle=":", label=f"threshold {least:g}")
        axes.set_ylabel("rationales")
        axes.set_title(source)
        axes.legend()
    grid[-1, 0].set_xlabel("fall of the loss of what follows, nats (discounted sum)")
    figure.savefig(path)
    return True
