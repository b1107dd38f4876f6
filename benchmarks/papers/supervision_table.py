"""The table and the plot of ``supervision.py``."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.papers.supervision_pools import Pools
from reason_decode.evaluation.curves import pass_curve
from reason_decode.evaluation.metrics import bootstrap


def limit_lines(tests: Pools, counts: Sequence[int]) -> list[dict[str, str]]:
    """Lines of a random and of a perfect pick."""
    right = [[bool(x.correct) for x in pool] for pool in tests]
    ways = {
        "random pick": [[mean(pool)] * len(counts) for pool in right],
        "perfect pick": [pass_curve(pool, counts) for pool in right],
    }
    return [_line(way, [], problems, counts) for way, problems in ways.items()]


def summary_lines(rows: Sequence[dict[str, Any]], counts: Sequence[int]) -> list[dict[str, str]]:
    """A line for each way and size: means over seeds and problems, intervals over problems."""
    groups: dict[tuple[str, int], list[Any]] = {}
    for row in rows:
        groups.setdefault((row["way"], row["size"]), []).append(row)
    lines = []
    for (way, _), found in groups.items():
        problems = [
            [mean(values) for values in zip(*problem, strict=True)]
            for problem in zip(*[row["accuracy"] for row in found], strict=True)
        ]
        lines.append(_line(way, found, problems, counts))
    return lines


def _line(
    way: str, found: Sequence[dict[str, Any]], problems: Any, counts: Sequence[int]
) -> dict[str, str]:
    """A line of the table; the last column has the accuracy of each seed at the largest N."""
    size = f"{mean(row['solutions'] for row in found):.0f}" if found else "-"
    line = {"learnt from": way, "solutions": size, "steps labelled": "-", "right ones": "-"}
    if found and "labels" in found[0]:
        line["steps labelled"] = f"{mean(row['labels'] for row in found):.0f}"
        line["right ones"] = f"{100 * mean(row['right'] for row in found):.0f} %"
    for n, best in zip(counts, bootstrap(problems), strict=True):
        line[f"best of {n}"] = f"{100 * best.mean:.1f} ({100 * best.low:.1f}-{100 * best.high:.1f})"
    each = [f"{100 * mean(x[-1] for x in row['accuracy']):.1f}" for row in found]
    line[f"seeds at {counts[-1]}"] = " ".join(each) or "-"
    return line


def draw_plot(path: Path, kind: str, rows: Sequence[dict[str, Any]], counts: Sequence[int]) -> None:
    """Draw the accuracy at the largest N by the number of solutions, a dot for each seed.

    Args:
        path: .png or .svg file.
        kind: kind of the problems, for the axis.
        rows: results.
        counts: every N.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for k, way in enumerate(dict.fromkeys(row["way"] for row in rows)):
        points = [
            (row["solutions"], 100 * mean(x[-1] for x in row["accuracy"]))
            for row in rows
            if row["way"] == way
        ]
        if not points[0][0]:
            axes.axhline(points[0][1], color=f"C{k}", linestyle="--", label=way)
            continue
        sizes = sorted({size for size, _ in points})
        axes.plot(*zip(*points, strict=True), ".", color=f"C{k}", alpha=0.5)
        means = [mean(y for x, y in points if x == size) for size in sizes]
        axes.plot(sizes, means, color=f"C{k}", label=way)
    axes.set_xscale("log")
    axes.set_xlabel("solutions learnt from")
    axes.set_ylabel(f"best of {counts[-1]}, % right ({kind})")
    axes.legend()
    figure.savefig(path)


def sample_counts(pool: int) -> list[int]:
    """Every N of the tables, for a pool of so many samples."""
    return [n for n in (1, 4, 16, 64, 256) if 1 < n <= pool]
