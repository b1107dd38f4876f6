"""The tables of ``dust.py``: accuracy with intervals, and how far right answers are the same."""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from statistics import mean
from typing import Any

from reason_decode.evaluation.metrics import Estimate, crossed_bootstrap

Rows = Mapping[tuple[str, int], dict[str, Any]]
"""By method and seed."""
REFERENCE = "cot-kd"


def accuracy_rows(rows: Rows) -> list[dict[str, str]]:
    """A line a method: accuracy of each task and what it gains over cot-kd."""
    lines: list[dict[str, str]] = []
    for method in dict.fromkeys(name for name, _ in rows):
        runs = {seed: row for (name, seed), row in rows.items() if name == method}
        line = {"method": method, "seeds": str(len(runs))}
        for task in next(iter(runs.values()))["correct"]:
            found = crossed_bootstrap([row["correct"][task] for row in runs.values()])
            line[task] = _shown(found)
            line[f"gain, {task}"] = _gain(rows, method, task)
        line["trained"] = f"{next(iter(runs.values()))['trained']:,}"
        line["s"] = f"{mean(row['seconds'] for row in runs.values()):.0f}"
        lines.append(line)
    return lines


def _gain(rows: Rows, method: str, task: str) -> str:
    """Over the reference, of the seeds that both have; the base has one for all."""
    differences: list[list[float]] = []
    for (name, seed), row in rows.items():
        own = rows.get((method, seed), rows.get((method, 0)) if method == "base" else None)
        if name == REFERENCE and own is not None and method != REFERENCE:
            pairs = zip(own["correct"][task], row["correct"][task], strict=True)
            differences.append([a - b for a, b in pairs])
    return _shown(crossed_bootstrap(differences), sign="+") if differences else "-"


def _shown(x: Estimate, sign: str = "") -> str:
    low, high = (f"{100 * bound:{sign}.1f}" for bound in (x.low, x.high))
    return f"{100 * x.mean:{sign}.1f} ({low} to {high})"


def overlap_rows(rows: Rows) -> list[dict[str, str]]:
    """IoU of right answers: of both models, of NAT and the negative, of two seeds of one model."""
    seeds = {name: sorted(s for n, s in rows if n == name) for name, _ in rows}
    same: Callable[[str, str], list[Any]] = lambda a, b: [  # noqa: E731 - pairs of one seed
        ((a, s), (b, s)) for s in seeds.get(a, ()) if s in seeds.get(b, ())
    ]
    pairs = {
        f"{REFERENCE} and negative": same(REFERENCE, "negative"),
        "nat and negative": same("nat", "negative"),
        f"{REFERENCE} and nat": same(REFERENCE, "nat"),
        f"two seeds of {REFERENCE}": [
            ((REFERENCE, s), (REFERENCE, z)) for s, z in combinations(seeds.get(REFERENCE, ()), 2)
        ],
        "two seeds of negative": [
            (("negative", s), ("negative", z))
            for s, z in combinations(seeds.get("negative", ()), 2)
        ],
    }
    lines: list[dict[str, str]] = []
    for task in next(iter(rows.values()))["correct"]:
        for name, keys in pairs.items():
            if keys:
                sets = [tuple(rows[key]["correct"][task] for key in pair) for pair in keys]
                lines.append({"task": task, "right answers of": name, **_overlap(sets)})
    return lines


def _overlap(sets: Sequence[tuple[Sequence[int], ...]]) -> dict[str, str]:
    """Means over pairs of lists of 0 and 1."""
    first, second, both, iou, chance = [], [], [], [], []
    for a, b in sets:
        first.append(sum(a))
        second.append(sum(b))
        both.append(sum(x & y for x, y in zip(a, b, strict=True)))
        iou.append(_share(both[-1], sum(a) + sum(b) - both[-1]))
        by_chance = sum(a) * sum(b) / len(a)
        chance.append(_share(by_chance, sum(a) + sum(b) - by_chance))
    counts = {"first": first, "second": second, "both": both}
    shown = {name: f"{mean(values):.1f}" for name, values in counts.items()}
    return {
        "pairs": str(len(sets)),
        **shown,
        "IoU": f"{mean(iou):.3f}",
        "by chance": f"{mean(chance):.3f}",
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
