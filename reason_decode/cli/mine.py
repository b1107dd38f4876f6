"""``reason-decode mine``: mine rationales from raw text, for a rationale model to learn from."""

from collections.abc import Sequence
from typing import Any

from reason_decode.cli.mining_configs import MineConfig
from reason_decode.io.console import printable, table
from reason_decode.mining import MiningReport, MiningSummary, run_mining

__all__ = ["run"]


def run(config: MineConfig, argv: Sequence[str]) -> int:
    """Mine the documents that are not mined yet, and print the counts."""
    summary = run_mining(
        config.mining,
        config.input,
        config.output,
        limit=config.limit,
        parquet=config.parquet,
        run=config.run,
    )
    _print(summary)
    return 1 if summary.retryable else 0


def _print(summary: MiningSummary) -> None:
    if summary.input.rows:
        print(summary.input)
    if summary.report.documents:
        print(_table(summary.report))
    for stage, reasons in summary.report.reasons.items():
        for reason, count in reasons.most_common():
            print(f"{stage}: {count} x {printable(reason)}")
    counts = summary.kept.parent / "report.json"
    print(f"kept: {summary.kept}; dropped: {summary.dropped}; counts: {counts}")
    if summary.figure:
        print(f"deltas: {summary.figure}")
    if left := summary.retryable:
        reasons = ", ".join(f"{count} x {printable(why)}" for why, count in left.most_common(3))
        print(f"not done: {left.total()} documents ({reasons}); give the command again")


def _table(report: MiningReport) -> str:
    def row(source: str) -> dict[str, Any]:
        documents, rationales = report.documents[source], report.rationales[source]
        stages = ("dedup", "decontaminate", "prefilter", "extract", "faithful")
        return {
            "source": source,
            "documents": documents["taken"],
            **{f"- {stage}": documents[stage] for stage in stages},
            "rationales": rationales["written"],
            "leaky": rationales["faithful"],
            "below": rationales["filter"],
            "kept": rationales["kept"],
        }

    return table([row(source) for source in report.documents])
