"""Counts of documents and rationales by stage and source, and a histogram of the loss deltas."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["MiningReport", "draw_deltas"]

BIN = 0.1  # nats; width of a bar of the histogram


@dataclass
class MiningReport:
    """Counts of a mining run.

    Attributes:
        documents: source -> outcome -> number of documents. Outcomes are ``taken`` (all documents),
            the stages that dropped some, and ``mined``.
        rationales: source -> outcome -> number of rationales. Outcomes are ``written`` (all
            rationales), the stages that rejected some, and ``kept``.
        reasons: stage -> kind of reason -> number of documents or rationales.
        deltas: source -> ``floor(delta / 0.1)`` -> number of rationales.

    Examples:
        >>> from reason_decode.mining import MiningReport, MiningResult
        >>> from reason_decode.mining.results import to_row
        >>> report = MiningReport()
        >>> report.add(to_row(MiningResult("1", "web", similarity=None, records=())))
        >>> report.documents["web"]
        Counter({'taken': 1, 'mined': 1})
    """

    documents: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    rationales: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    reasons: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    deltas: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, row: Mapping[str, Any]) -> None:
        """Count the result of a document.

        Args:
            row: the result as ``to_row`` gives it.
        """
        source = row["source"]
        self.documents[source].update(["taken", row["stage"] or "mined"])
        if row["reason"]:
            self.reasons[row["stage"]][_kind(row["reason"])] += 1
        for record in row["records"]:
            outcome = record["stage"] if record["reason"] else "kept"
            self.rationales[source].update(["written", outcome])
            if record["reason"]:
                self.reasons[record["stage"]][_kind(record["reason"])] += 1
            if record["delta"] is not None:
                self.deltas[source][int(record["delta"] // BIN)] += 1

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON data; deltas by the lower ends of their bins, in nats."""
        names = ("documents", "rationales", "reasons")
        counts = {
            name: {key: dict(found) for key, found in getattr(self, name).items()} for name in names
        }
        deltas = {
            source: {f"{BIN * k:.1f}": bins[k] for k in sorted(bins)}
            for source, bins in self.deltas.items()
        }
        return counts | {"deltas": deltas}


def _kind(reason: str) -> str:
    return reason.partition(":")[0]


def draw_deltas(
    report: MiningReport, min_loss_delta: float | Mapping[str, float], path: str | Path
) -> bool:
    """Draw a histogram of the loss deltas of each source; warn if matplotlib is not installed.

    Args:
        report: a report with deltas.
        min_loss_delta: the threshold in nats, drawn as a line; one for all sources, or by source,
            where ``""`` is for all other sources.
        path: the image; its ending chooses the format.

    Returns:
        True if the image was written.
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
        threshold = min_loss_delta
        if isinstance(min_loss_delta, Mapping):
            threshold = min_loss_delta.get(source, min_loss_delta.get("", 0.0))
        axes.bar([BIN * k for k in counts], list(counts.values()), width=BIN, align="edge")
        axes.axvline(threshold, color="black", linestyle=":", label=f"threshold {threshold:g}")
        axes.set_ylabel("rationales")
        axes.set_title(source)
        axes.legend()
    grid[-1, 0].set_xlabel("decrease of the loss of the following text, nats (discounted sum)")
    figure.savefig(path)
    return True
