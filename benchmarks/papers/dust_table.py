"""The tables of ``dust.py``: accuracy, gains, and the overlap of right answers."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import mean
from typing import Any

import torch

from reason_decode.evaluation.metrics import Estimate, crossed_bootstrap

Key = tuple[str, int]
"""A method and a seed."""
Rows = Mapping[Key, dict[str, Any]]
REFERENCE = "cot-kd"
# A method and the one that it must beat.
AGAINST = (
    ("nat", "nat-two-positives"),
    ("nat", "cot-kd-as-large"),
    ("nat", "2pos-neg"),
    ("nce", "kd"),
    ("nce-token", "kd"),
    ("nce", "nat"),
)
# Models whose right answers are compared.
PAIRS = (
    (REFERENCE, "negative"),
    ("nat", "negative"),
    (REFERENCE, "nat"),
    (REFERENCE, "second"),
    (REFERENCE, REFERENCE),
    ("negative", "negative"),
)


def accuracy_rows(rows: Rows) -> list[dict[str, str]]:
    """A line for each method: its accuracy in each task and its gain over cot-kd."""
    lines: list[dict[str, str]] = []
    for method in dict.fromkeys(name for name, _ in rows):
        runs = {seed: row for (name, seed), row in rows.items() if name == method}
        line = {"method": method, "seeds": str(len(runs))}
        for task in next(iter(runs.values()))["correct"]:
            found = crossed_bootstrap([row["correct"][task] for row in runs.values()])
            line[task] = _shown(found)
            line[f"gain, {task}"] = _gain(rows, method, task)
        line["trained"] = f"{next(iter(runs.values()))['trainable_parameters']:,}"
        line["s"] = f"{mean(row['seconds'] for row in runs.values()):.0f}"
        lines.append(line)
    return lines


def gain_rows(rows: Rows) -> list[dict[str, str]]:
    """A line for each method and the one that it must beat: the paired gain."""
    lines: list[dict[str, str]] = []
    for method, over in AGAINST:
        if all(any(name == x for name, _ in rows) for x in (method, over)):
            tasks = next(iter(rows.values()))["correct"]
            shown = {f"gain, {task}": _gain(rows, method, task, over) for task in tasks}
            lines.append({"method": method, "over": over, **shown})
    return lines


def _gain(rows: Rows, method: str, task: str, over: str = REFERENCE) -> str:
    """The gain over another method, from the seeds that both have; the base has one for all."""
    differences: list[list[float]] = []
    for (name, seed), row in rows.items():
        own = rows.get((method, seed), rows.get((method, 0)) if method == "base" else None)
        if name == over and own is not None and method != over:
            pairs = zip(own["correct"][task], row["correct"][task], strict=True)
            differences.append([a - b for a, b in pairs])
    return _shown(crossed_bootstrap(differences), sign="+") if differences else "-"


def _shown(x: Estimate, sign: str = "") -> str:
    low, high = (f"{100 * bound:{sign}.1f}" for bound in (x.low, x.high))
    return f"{100 * x.mean:{sign}.1f} ({low} to {high})"


def overlap_rows(rows: Rows) -> list[dict[str, str]]:
    """The IoU of right answers of two models of one seed, and of two seeds of one model."""
    lines: list[dict[str, str]] = []
    for task in next(iter(rows.values()))["correct"]:
        for a, b in PAIRS:
            keys = _pairs(rows, a, b)
            if keys:
                sets = [tuple(rows[key]["correct"][task] for key in pair) for pair in keys]
                name = f"{a} and {b}" if a != b else f"two seeds of {a}"
                lines.append({"task": task, "right answers of": name, **_overlap(sets)})
    return lines


def _pairs(rows: Rows, a: str, b: str) -> list[tuple[Key, Key]]:
    """The pairs of runs of two methods: equal seeds, or for one method each two seeds."""
    seeds, others = ([s for name, s in rows if name == x] for x in (a, b))
    if a == b:
        return [((a, s), (a, z)) for s, z in combinations(sorted(seeds), 2)]
    return [((a, s), (b, s)) for s in sorted(set(seeds) & set(others))]


def _overlap(sets: Sequence[tuple[Sequence[int], ...]]) -> dict[str, str]:
    """Cells of the overlap table, means over pairs of lists of 0 and 1."""
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
        "IoU": "{:.3f} ({:.3f} to {:.3f})".format(mean(iou), *_interval(sets)),
        "by chance": f"{mean(chance):.3f}",
    }


def _interval(sets: Sequence[tuple[Sequence[int], ...]]) -> list[float]:
    """The 95 % interval of the mean IoU, by a bootstrap over problems."""
    first, second = (torch.tensor(x, dtype=torch.float64) for x in zip(*sets, strict=True))
    both = first * second
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(both.shape[1], (2000, both.shape[1]), generator=generator)
    times = torch.zeros(drawn.shape, dtype=both.dtype)
    times.scatter_add_(1, drawn, torch.ones_like(times))
    shares = (times @ both.T) / (times @ (first + second - both).T).clamp(min=1)
    return shares.mean(dim=1).quantile(torch.tensor([0.025, 0.975], dtype=both.dtype)).tolist()


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
