"""``reason-decode train rationalyst``: a rationale model, from mined rationales."""

from argparse import ArgumentParser, Namespace
from typing import Any, get_args

from reason_decode.io.console import printable
from reason_decode.io.jsonl import ReadReport
from reason_decode.models.loading import load_padded_tokenizer
from reason_decode.training import (
    RationaleRow,
    TrainingConfig,
    read_rationales,
    split_documents,
    train_rationalyst,
)
from reason_decode.training.rationalyst import Learn

__all__ = ["add_options", "train"]


def add_options(parser: ArgumentParser) -> None:
    """Options that other models have no use for."""
    parser.add_argument(
        "--learn",
        choices=get_args(Learn),
        default="rationale",
        help="what of each record; both: what follows too, for a model that is to judge steps by "
        "its own rationales (default: rationale)",
    )
    parser.add_argument(
        "--bare",
        type=float,
        default=0.25,
        metavar="SHARE",
        help="of the records, what follows is learnt without the rationale too (default: 0.25)",
    )
    parser.add_argument(
        "--adapter", action="store_true", help="with --lora: save the matrices, not folded in"
    )


def train(args: Namespace, source: str, recipe: TrainingConfig) -> list[dict[str, Any]]:
    """Read, split by document, train; say what could not be read."""
    if args.adapter and args.lora is None:
        raise ValueError("got --adapter without --lora RANK; there is nothing else to keep apart")
    tokenizer = load_padded_tokenizer(source)
    kept, held = split_documents(_records(args.data), args.hold_out)
    return [
        train_rationalyst(
            source,
            tokenizer,
            kept,
            args.out,
            learn=args.learn,
            bare=args.bare,
            separator=args.separator,
            lora=args.lora,
            fold=not args.adapter,
            recipe=recipe,
            held_out=held,
        )
    ]


def _records(paths: list[str]) -> list[RationaleRow]:
    """The rationales of all files; what became of each file's rows is printed."""
    found: list[RationaleRow] = []
    for path in paths:
        report = ReadReport()
        records = read_rationales(path, report)
        found += records
        documents = len({(record.source, record.id) for record in records})
        print(f"{path}: rationales of {documents} documents; {printable(str(report))}")
    return found
