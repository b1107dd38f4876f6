"""``reason-decode train vote-weights``: how much does a vote of each score weigh?"""

from collections.abc import Sequence
from typing import Any

from reason_decode.cli.output import json_output
from reason_decode.cli.vote_weights_config import TrainVoteWeightsConfig
from reason_decode.core.thinking import THINK
from reason_decode.evaluation.rerank import read_samples, scored_pools
from reason_decode.evaluation.vote_weights import fit_vote_weights, vote_weights_report
from reason_decode.io.console import interval, percent, table
from reason_decode.strategies.from_options import scorer_from_options
from reason_decode.tasks import TaskOptions, find_task

__all__ = ["run"]


def run(config: TrainVoteWeightsConfig, argv: Sequence[str]) -> int:
    """Score, fit, print the formula and how it does on problems that it did not see."""
    with json_output(config.output, config.input, alone=True) as write:
        task = None if config.problems == TaskOptions() else find_task(config.problems)
        tags = config.thoughts.tags or THINK
        problems, rejected = read_samples(config.input, task, thinking_tags=tags)
        scorer = scorer_from_options(config.scoring, splitter=config.solutions.splitter)
        pools = scored_pools(
            problems,
            scorer,
            reduce=config.reduce,
            thinking_tags=tags,
            score_part=config.thoughts.score_part,
        )
        report = vote_weights_report(pools, folds=config.folds)
        formula = str(fit_vote_weights(pools))
        write({"vote_weighting": formula, **report})
        ways = [name for name in report if name != "problems"]
        print(table([_row(name, report[name]) for name in ways]))
        print(f"{report['problems']} problems, {config.folds} folds; learnt on all of them:")
        print(f"--vote-weighting '{formula}'")
        for reject in rejected:
            print(f"set aside: line {reject.row}: {reject.reason}")
    return 0


def _row(name: str, found: dict[str, Any]) -> dict[str, str]:
    more, low, high = (100 * x for x in found["beside_vote"])
    return {
        "weights": name,
        "right": percent(found["accuracy"]),
        "95 % interval": interval(found["ci95"]),
        "beside the vote": f"{more:+.1f} ({low:+.1f} to {high:+.1f})",
    }
