"""``reason-decode eval``: the accuracy of a strategy on a public task."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from reason_decode.cli.abstain import answered, judge_of
from reason_decode.cli.configs import EvalConfig
from reason_decode.cli.output import json_output, path_of
from reason_decode.cli.settings import sampling_of, settings_of
from reason_decode.core.options import flatten_options
from reason_decode.evaluation.runner import run_items, summarize_results
from reason_decode.io.console import interval, percent, table
from reason_decode.io.jsonl import check_writable, write_text
from reason_decode.runs.batches import FailedItem, print_failures
from reason_decode.runs.options import SINGLE_SHARD
from reason_decode.runs.resumable import ResumableRun, item_indices
from reason_decode.runs.workers import run_workers
from reason_decode.serving.from_options import completer_from_options
from reason_decode.tasks import Example, Item, Task, find_examples, find_task

__all__ = ["run"]


def run(config: EvalConfig, argv: Sequence[str]) -> int:
    """Run the strategy over the rows, print a table, write the result."""
    options, task = config.generation, find_task(config.problems)
    inputs = [config.input, *filter(None, [config.problems.few_shot_input])]
    with json_output(config.output, *inputs) as write:
        if config.trace is not None:
            output = path_of(config.output)
            check_writable(config.trace, inputs=inputs, outputs=[output] if output else [])
        items, rejected = task.load(config.input, config.rows)
        items, examples = items[: config.limit], find_examples(task, config.problems)
        sampling = dict(sampling_of(options, config.engine))
        judge = judge_of(config.abstaining)
        later = ["trace", "calibration", "abstain_below"]
        settings = settings_of(config, [items, list(examples)], later)
        settings |= {"traced": config.trace is not None, "sampling": sampling}
        output = path_of(config.output)
        run = ResumableRun(output, settings, item_indices, len(items), config.run)
        if not run_workers(run, ["-m", "reason_decode", *argv]):
            return 0
        with run:
            failed = _evaluate(config, task, items, examples, run) if run.remains else []
            if config.run.shard != SINGLE_SHARD:
                print(run.progress_line())
                return 1 if failed else 0
            result = summarize_results(
                items,
                run.rows(),
                failed,
                task=task.name,
                strategy=options.strategy,
                n=_candidates(config),
                seed=options.seed,
            )
            result["rows"] = [row | judge(row) for row in result["rows"]]
            result |= answered(result["rows"])
            given = flatten_options(options)
            result |= {name: x for name, x in given.items() if name not in result}
            result |= {"sampling": sampling, "rejected": [asdict(reject) for reject in rejected]}
            _write(config, result, write)
            if not failed:
                run.finish()
        print(table([_row(result)]))
        if "answered" in result:
            print(_answered_line(config, result["answered"]))
        for reject in rejected:
            print(f"set aside: row {reject.row}: {reject.reason}")
    return 1 if failed else 0


def _candidates(config: EvalConfig) -> int:
    return config.generation.n if config.generation.compares_candidates else 1


def _write(config: EvalConfig, result: dict[str, Any], write: Callable[[Any], None]) -> None:
    """Write result and traces where they are asked for; the rows go last."""
    rows = result.pop("rows")
    if config.trace is not None:
        lines = (json.dumps(row, allow_nan=False) for row in ({"run": result}, *rows))
        write_text(config.trace, "".join(f"{line}\n" for line in lines))
        rows = [{k: x for k, x in row.items() if k not in ("target", "trace")} for row in rows]
    write({**result, "rows": rows})


def _evaluate(
    config: EvalConfig,
    task: Task,
    items: list[Item],
    examples: Sequence[Example],
    run: ResumableRun,
) -> list[FailedItem]:
    """Complete and grade the items that remain; print and return those that failed."""
    completer = completer_from_options(
        config.generation,
        config.engine,
        max_new_tokens=task.max_new_tokens,
        state_key=task.state_key,
        stop=task.stop,
    )
    batches = run_items(
        completer,
        items,
        task,
        config.batch_size,
        done=run.done,
        shard=config.run.shard,
        trace=config.trace is not None,
        desc=config.generation.strategy,
        system=config.generation.prompting.system,
        examples=examples,
    )
    for _, result in batches:
        run.append(result)
    print_failures(batches, lambda index: f"item {items[index].id}")
    return batches.failed


def _answered_line(config: EvalConfig, found: dict[str, Any]) -> str:
    line = f"answered with probability {config.abstaining.abstain_below} or more: "
    if not found["answered"]:
        return line + "none"
    accuracy = f"{percent(found['accuracy'])} right ({interval(found['ci95'])})"
    return f"{line}{found['answered']}, of which {accuracy}"


def _row(result: dict[str, Any]) -> dict[str, Any]:
    generator = result["cost"]["generator"]
    return {
        "task": result["task"],
        "strategy": result["strategy"],
        "n": result["n"],
        "seed": result["seed"],
        "items": result["items"],
        "correct": result["correct"],
        "accuracy": percent(result["accuracy"]),
        "95 % interval": interval(result["ci95"]),
        "pass@n": percent(result.get("pass_at_n")),
        "sampled": generator["sampled"],
        "scored": result["cost"]["scorer"]["read"],
        "seconds": f"{result['seconds']:.1f}",
    }
