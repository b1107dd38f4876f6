"""``reason-decode label``: labels without people, by rollouts or by a larger reward model."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from reason_decode.cli.prompts import add_suffix, suffix_for, with_suffix
from reason_decode.io.jsonl import ReadReport, check_writable, read_jsonl, write_text
from reason_decode.models.loading import load_model
from reason_decode.scorers.loading import load_scorer
from reason_decode.training import (
    LabelledSolution,
    label_by_rollouts,
    label_by_scorer,
    read_labelled,
)

__all__ = ["add", "run"]

# Results are written after so many solutions, and a run that was stopped goes on behind them.
_AT_ONCE = 64


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser: ArgumentParser = commands.add_parser(
        "label", help="label the steps of solutions without people", description=__doc__
    )
    parser.add_argument(
        "--data", required=True, metavar="FILE", help="solutions, JSON Lines, .gz or not"
    )
    parser.add_argument("--format", default="auto", help="as for train (default: auto)")
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="labelled solutions in the stepwise format; a file that is there is gone on with",
    )
    parser.add_argument("--separator", default="\n", help="what ends a step (default: a newline)")
    add_suffix(parser)
    parser.add_argument(
        "--prm", metavar="P", help="label by this process reward model: tiny, a folder or a Hub id"
    )
    parser.add_argument(
        "--model",
        metavar="M",
        help="label by rollouts of this model: tiny, a folder or a Hub id; the data need answers",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        help="a step is right from this P(right) on (default: 0.5); of rollouts, if a larger share "
        "comes out right (default: 0)",
    )
    parser.add_argument("--rollouts", type=int, default=8, metavar="K", help="a step (default: 8)")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="of one (default: 256)")
    parser.add_argument("--temperature", type=float, default=1.0, help="of one (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the rollouts (default: 0)")
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Read, label, write as it goes; say what became of the rows."""
    if (args.prm is None) == (args.model is None):
        raise ValueError("pass one of --prm P and --model M: what is to label")
    check_writable(args.out)
    report = ReadReport()
    rows = read_labelled(args.data, args.format, separator=args.separator, report=report)
    suffix = suffix_for(True, args.separator, args.prompt_suffix)
    solutions = [replace(x, prompt=with_suffix(x.prompt, suffix)) for x in rows]
    out = Path(args.out)
    done = _done(out, [x.prompt for x in solutions])
    label = _by_scorer(args) if args.prm is not None else _by_rollouts(args)
    with (
        out.open("a", encoding="utf-8") as file,
        tqdm(total=len(solutions), initial=done, unit="solution", disable=None) as bar,
    ):
        for start in range(done, len(solutions), _AT_ONCE):
            for row in label(solutions[start : start + _AT_ONCE], start):
                file.write(json.dumps(row) + "\n")
                bar.update()
            file.flush()
    print(f"{args.data}: {report}")
    print(f"{len(solutions)} labelled in {args.out}, {done} of them before")
    return 0


def _done(out: Path, prompts: list[str]) -> int:
    """How many solutions an earlier run has labelled; a line that was cut off is taken away.

    Raises:
        ValueError: the file holds other solutions.
    """
    if not out.exists():
        return 0
    rows, _ = read_jsonl(out)
    # Rollouts are drawn by the batch: half a batch is drawn again.
    rows = rows[: len(rows) // _AT_ONCE * _AT_ONCE] if len(rows) < len(prompts) else rows
    if [row.get("prompt") for _, row in rows] != prompts[: len(rows)]:
        raise ValueError(
            f"{out} holds the labels of other solutions; name another file, or remove it"
        )
    write_text(out, "".join(json.dumps(row) + "\n" for _, row in rows))
    return len(rows)


def _by_scorer(args: Namespace) -> Any:
    scorer = load_scorer(args.prm)
    threshold = 0.5 if args.threshold is None else args.threshold

    def label(solutions: list[LabelledSolution], start: int) -> Iterator[dict[str, Any]]:
        return _rows(label_by_scorer(solutions, scorer, threshold=threshold))

    return label


def _by_rollouts(args: Namespace) -> Any:
    model, tokenizer = load_model(args.model)

    def label(solutions: list[LabelledSolution], start: int) -> Iterator[dict[str, Any]]:
        found = label_by_rollouts(
            model,
            tokenizer,
            solutions,
            k=args.rollouts,
            threshold=args.threshold or 0.0,
            max_new_tokens=args.max_new_tokens,
            temperature=args.temperature,
            separator=args.separator,
            seed=args.seed + start,
        )
        for rolled in found:
            (row,) = _rows([rolled.solution])
            yield {**row, "shares": rolled.shares}

    return label


def _rows(solutions: Iterable[LabelledSolution]) -> Iterator[dict[str, Any]]:
    """Solutions in the stepwise format."""
    for x in solutions:
        labels = [None if label is None else label == 1 for label in x.labels]
        row = {"prompt": x.prompt, "completions": x.steps, "labels": labels}
        known = {"answer": x.answer, "correct": x.correct, "source": x.source}
        yield row | {name: value for name, value in known.items() if value is not None}
