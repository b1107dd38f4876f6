"""``reason-decode generate``: continue the prompts of a file; run it again to go on."""

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from reason_decode.cli.load import load_model
from reason_decode.cli.options import add_decoding, check_decoding, make_strategy
from reason_decode.evaluation.complete import complete
from reason_decode.evaluation.files import (
    Reject,
    check_writable,
    read_jsonl,
    write_text,
)
from reason_decode.scorers.base import check_text

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser: ArgumentParser = commands.add_parser(
        "generate", help="continue the prompts of a file", description=__doc__
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
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Complete what is not complete yet, batch by batch, each written as soon as it is done."""
    check_decoding(args)
    check_writable(args.output)
    prompts, rejected = _read_prompts(args.input)
    done = _read_done(Path(args.output), prompts)
    _write_rejected(Path(f"{args.output}.rejected.jsonl"), rejected)
    left = [number for number in prompts if number not in done]
    if left:
        _complete(args, prompts, left)
    print(
        f"{args.output}: {len(prompts)} completions, {len(done)} of them from before; "
        f"{len(rejected)} lines set aside"
    )
    return 0


def _complete(args: Namespace, prompts: dict[int, str], left: list[int]) -> None:
    model, tokenizer = load_model(args.model)
    strategy = make_strategy(args, tokenizer)
    before = len(prompts) - len(left)
    with (
        open(args.output, "a", encoding="utf-8") as out,
        tqdm(total=len(prompts), initial=before, unit="prompt", disable=None) as bar,
    ):
        for at in range(0, len(left), args.batch_size):
            batch = left[at : at + args.batch_size]
            # By the batch's first line: a run that was broken off samples what it would have.
            torch.manual_seed(args.seed + batch[0])
            made = complete(
                model,
                tokenizer,
                strategy,
                [prompts[number] for number in batch],
                max_new_tokens=args.max_new_tokens,
                temperature=0.0 if args.strategy == "greedy" else args.temperature,
            )
            for k, number in enumerate(batch):
                row: dict[str, Any] = {"id": number, "prompt": prompts[number]}
                row |= {"completion": made.texts[k], "score": None}
                if made.traces is not None:
                    row["score"] = made.traces[k].best.total
                if made.traces is not None and args.trace:
                    row["trace"] = made.traces[k].to_dict()
                out.write(json.dumps(row, allow_nan=False) + "\n")
            out.flush()
            bar.update(len(batch))


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


def _read_done(path: Path, prompts: dict[int, str]) -> set[int]:
    """Lines completed by an earlier run; a last row that was cut off is removed from the file.

    Raises:
        ValueError: the file was not made from these prompts.
    """
    if not path.exists():
        return set()
    rows, broken = read_jsonl(path)
    for place, row in rows:
        id = row.get("id")
        if not isinstance(id, int) or id not in prompts or prompts[id] != row.get("prompt"):
            raise ValueError(
                f"line {place} of {path} answers no prompt of the input, so the file was made from "
                "another; name a new --output, or remove it"
            )
    if broken or not path.read_bytes().endswith(b"\n"):
        write_text(path, "".join(json.dumps(row) + "\n" for _, row in rows))
    return {row["id"] for _, row in rows}


def _write_rejected(path: Path, rejected: list[Reject]) -> None:
    if rejected:
        write_text(path, "".join(json.dumps(asdict(reject)) + "\n" for reject in rejected))
    else:
        # What an earlier run set aside has been mended since.
        path.unlink(missing_ok=True)
