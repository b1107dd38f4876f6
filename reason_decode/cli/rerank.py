"""``reason-decode rerank``: choose among solutions that any model wrote, and grade the choices."""

import sys
from collections.abc import Sequence
from typing import Any

from reason_decode.cli.configs import RerankConfig
from reason_decode.cli.output import json_output
from reason_decode.core.thinking import THINK
from reason_decode.evaluation import rerank
from reason_decode.evaluation.metrics import accuracy_interval
from reason_decode.evaluation.rerank import read_samples
from reason_decode.io.console import interval, percent, table
from reason_decode.scorers.base import default_reduce
from reason_decode.strategies.from_options import scorer_from_options
from reason_decode.tasks import TaskOptions, find_task

__all__ = ["run"]


def run(config: RerankConfig, argv: Sequence[str]) -> int:
    """Score, choose, grade; print a table, write the result."""
    with json_output(config.output, config.input, alone=True) as write:
        # A file that says which samples are right needs no task.
        task = None if config.problems == TaskOptions() else find_task(config.problems)
        tags = config.thoughts.tags or THINK
        problems, rejected = read_samples(config.input, task, thinking_tags=tags)
        if not config.scoring.is_given:
            print(
                "scored by tiny, the packaged verifier of number games; --scorer names another",
                file=sys.stderr,
            )
        scorer = scorer_from_options(config.scoring, splitter=config.solutions.splitter)
        reduce = config.reduce or default_reduce(scorer)
        result = rerank(
            problems,
            scorer,
            reduce=reduce,
            rejected=rejected,
            thinking_tags=tags,
            score_part=config.thoughts.score_part,
        )
        name = config.scoring.scorer or config.scoring.scorer_model or "tiny"
        given = {"task": task and task.name, "scorer": name, "reduce": reduce}
        write({**given, **result})
        print(
            f"{config.input if task is None else task.name}: {result['problems']} problems, "
            f"{result['samples']} samples, "
            f"{result['problems_with_a_right_sample']} problems with a right one"
        )
        singles = (
            _single(result, "one at random", "single_sample"),
            _single(result, "one at random, of those with an answer", "answered_sample"),
        )
        ways = (_row(result, way) for way in ("best_of_n", "vote", "weighted_vote"))
        print(table([*singles, *ways]))
        for reject in rejected:
            print(f"set aside: line {reject.row}: {reject.reason}")
    return 0


def _single(result: dict[str, Any], name: str, key: str) -> dict[str, str]:
    return {
        "pick": name,
        "right": "-",
        "accuracy": percent(result[key]),
        "95 % interval": "-",
        "of the solvable": "-",
    }


def _row(result: dict[str, Any], way: str) -> dict[str, str]:
    graded = result[way]
    return {
        "pick": way.replace("_", " "),
        "right": str(graded["right"]),
        "accuracy": percent(graded["accuracy"]),
        "95 % interval": interval(accuracy_interval(graded["right"], result["problems"])),
        "of the solvable": percent(graded["of_solvable"]),
    }
