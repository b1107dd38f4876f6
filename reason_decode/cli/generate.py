"""``reason-decode generate``: continue the prompts of a file."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reason_decode.cli.options import add_decoding, check_decoding
from reason_decode.cli.run_options import (
    RESUME_EPILOG,
    add_run_options,
    command_of,
    make_run_options,
    settings_of,
)
from reason_decode.cli.served import add_served, check_served
from reason_decode.cli.solve import make_solve
from reason_decode.evaluation.complete import Completions
from reason_decode.io.jsonl import Reject, check_writable, read_jsonl, write_text
from reason_decode.runs.batches import Batches, FailedItem, print_failures
from reason_decode.runs.options import SINGLE_SHARD
from reason_decode.runs.resumable import ResumableRun
from reason_decode.runs.workers import run_workers
from reason_decode.scorers.checks import check_text

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser: ArgumentParser = commands.add_parser(
        "generate", help="continue the prompts of a file", description=__doc__, epilog=RESUME_EPILOG
    )
    parser.add_argument(
        "--input", required=True, metavar="PROMPTS", help='JSON Lines of {"prompt": text}'
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="OUT",
        help="JSON Lines of id (the input's line), prompt, completion, score; rows that are "
        "there already are kept and not made again",
    )
    parser.add_argument("--trace", action="store_true", help="write every candidate and score too")
    parser.add_argument("--batch-size", type=int, default=8, help="prompts a batch (default: 8)")
    parser.add_argument(
        "--max-new-tokens", type=int, default=256, help="tokens a completion (default: 256)"
    )
    add_decoding(parser, strategy="best-of-n")
    add_served(parser)
    add_run_options(parser, "--output")
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Complete what is not complete yet, batch by batch, each written as soon as it is done."""
    check_decoding(args)
    check_served(args)
    options = make_run_options(args)
    check_writable(args.output)
    out = Path(args.output)
    prompts, rejected = _read_prompts(args.input)
    if not args.restart:
        _check_output(out, prompts)
    settings = settings_of(args, None)
    kept = ResumableRun(out, settings, _keys, len(prompts), options, in_place=True)
    if not run_workers(kept, command_of(args)):
        return 0
    with kept:
        before = len(kept.done)
        aside = _complete(args, prompts, kept) if kept.remains else []
        if options.shard != SINGLE_SHARD:
            print(kept.progress_line())
            return 1 if aside else 0
        kept.gather(prompts)
    rejected += [Reject(item.index, item.reason) for item in aside]
    _write_rejected(Path(f"{args.output}.rejected.jsonl"), rejected)
    print(
        f"{args.output}: {len(prompts) - len(aside)} completions, {before} of them from before; "
        f"{len(rejected)} lines set aside"
    )
    return 1 if aside else 0


def _complete(args: Namespace, prompts: dict[int, str], kept: ResumableRun) -> list[FailedItem]:
    """Do what is not done yet; the lines that could not be done, which are printed."""
    solve = make_solve(args, args.max_new_tokens)

    def do(batch: Sequence[int]) -> list[dict[str, Any]]:
        # By their lines: a run that was broken off samples what it would have.
        made = solve([prompts[number] for number in batch], batch)
        return [_row(made, k, number, prompts[number], args) for k, number in enumerate(batch)]

    named = {"desc": "generate", "unit": "prompt"}
    batches = Batches(list(prompts), args.batch_size, do, done=kept.done, shard=args.shard, **named)
    for _, rows in batches:
        kept.append(*(row for row in rows if row["id"] not in kept.done))
    print_failures(batches, lambda line: f"line {line}")
    return batches.failed


def _row(made: Completions, k: int, number: int, prompt: str, args: Namespace) -> dict[str, Any]:
    row: dict[str, Any] = {"id": number, "prompt": prompt}
    row |= {"completion": made.texts[k], "score": None}
    if made.traces is not None:
        row["score"] = made.traces[k].best.total
        if args.trace:
            row["trace"] = made.traces[k].to_dict()
    return row


def _read_prompts(path: str) -> tuple[dict[int, str], list[Reject]]:
    """Prompts by line number, and the lines without one."""
    rows, rejected = read_jsonl(path)
    prompts: dict[int, str] = {}
    for number, row in rows:
        prompt = row.get("prompt")
        try:
            if not isinstance(prompt, str) or not prompt:
                raise ValueError(f"got the prompt {prompt!r:.80}; need a text")
            check_text(prompt, "the prompt")
            prompts[number] = prompt
        except ValueError as error:
            rejected.append(Reject(number, str(error)))
    if not prompts:
        why = f"; line {rejected[0].row}: {rejected[0].reason}" if rejected else ""
        raise ValueError(f'{path} has no {{"prompt": text}} line ({len(rejected)} malformed{why})')
    return prompts, sorted(rejected, key=lambda reject: reject.row)


def _keys(row: Mapping[str, Any]) -> list[int]:
    return [int(row["id"])]


def _check_output(path: Path, prompts: dict[int, str]) -> None:
    """Raise if what is there was made of other prompts, before anything is changed.

    Raises:
        ValueError: it was.
    """
    if not path.exists():
        return
    for place, row in read_jsonl(path)[0]:
        id = row.get("id")
        if not isinstance(id, int) or id not in prompts or prompts[id] != row.get("prompt"):
            raise ValueError(
                f"line {place} of {path} answers no prompt of the input, so the file was made from "
                "another; name a new --output, or --restart to lose what is there"
            )


def _write_rejected(path: Path, rejected: list[Reject]) -> None:
    if rejected:
        write_text(path, "".join(json.dumps(asdict(reject)) + "\n" for reject in rejected))
    else:
        # What an earlier run set aside has been mended since.
        path.unlink(missing_ok=True)
