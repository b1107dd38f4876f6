"""``reason-decode rerank``: choose among solutions that any model wrote, and grade the choices."""

from collections.abc import Sequence
from typing import Any

from reason_decode.cli.configs import RerankConfig
from reason_decode.cli.output import json_output
from reason_decode.evaluation import rerank
from reason_decode.evaluation.rerank import read_samples
from reason_decode.io.console import percent, table
from reason_decode.scorers.base import default_reduce
from reason_decode.strategies.from_options import scorer_from_options
from reason_decode.tasks import TASKS

__all__ = ["run"]


def run(config: RerankConfig, argv: Sequence[str]) -> int:
    """Score, choose, grade; print a table, write the result."""
    with json_output(config.output, config.input) as write:
        task = None if config.task is None else TASKS[config.task]
        problems, rejected = read_samples(config.input, task)
        scorer = scorer_from_options(config.scoring)
        reduce = config.reduce or default_reduce(scorer)
        result = rerank(problems, scorer, reduce=reduce, rejected=rejected)
        given = {"task": config.task, "scorer": config.scoring.scorer, "reduce": reduce}
        write({**given, **result})
        print(
            f"{config.task or config.input}: {result['problems']} problems, "
            f"{result['samples']} samples, "
            f"{result['problems_with_a_right_sample']} problems with a right one"
        )
        ways = (_row(result, way) for way in ("best_of_n", "weighted_vote"))
        print(table([_single(result), *ways]))
        for reject in rejected:
            print(f"set aside: line {reject.row}: {reject.reason}")
    return 0


def _single(result: dict[str, Any]) -> dict[str, str]:
    share = percent(result["single_sample"])
    return {"pick": "one at random", "right": "-", "accuracy": share, "of the solvable": "-"}


def _row(result: dict[str, Any], way: str) -> dict[str, str]:
    graded = result[way]
    return {
        "pick": way.replace("_", " "),
        "right": str(graded["right"]),
        "accuracy": percent(graded["accuracy"]),
        "of the solvable": percent(graded["of_solvable"]),
    }
