"""``train negative``, ``train nat``, ``train nce``: adapters that learn from graded samples."""

from argparse import ArgumentParser, Namespace
from typing import Any, get_args

from tqdm import tqdm

from reason_decode.cli.load import load_tokenizer
from reason_decode.cli.prompts import read_all
from reason_decode.training import (
    Recipe,
    Weigh,
    grade_samples,
    hold_out,
    train_nat,
    train_nce,
    train_negative,
)

__all__ = ["KINDS", "add_options", "train"]

KINDS = {
    "negative": "LoRA matrices that learn from wrong samples",
    "nat": "positive LoRA matrices beside negative ones, and a unit that weighs both",
    "nce": "plain LoRA matrices that learn from a NAT model, most where the negative differs",
}
LORA = 8


def add_options(parser: ArgumentParser, kind: str) -> None:
    """The options that only this kind has."""
    parser.set_defaults(lora=LORA)
    parser.add_argument("--dropout", type=float, default=0.05, help="of LoRA (default: 0.05)")
    parser.add_argument(
        "--chat", action="store_true", help="prompts are turns of the tokenizer's chat template"
    )
    parser.add_argument(
        "--unanswered-wrong",
        action="store_true",
        help="samples that state no answer are wrong ones; else they are left out",
    )
    if kind == "negative":
        parser.add_argument(
            "--targets", nargs="+", metavar="NAME", help="layers, such as q_proj (default: all)"
        )
    elif kind == "nat":
        parser.add_argument(
            "--negative", required=True, metavar="DIR", help="what `train negative` wrote"
        )
        parser.add_argument("--unit", type=int, default=128, help="its width (default: 128)")
        parser.add_argument(
            "--beta", type=float, default=0.5, help="most weight of the negative (default: 0.5)"
        )
    else:
        parser.add_argument("--nat", required=True, metavar="DIR", help="what `train nat` wrote")
        parser.add_argument(
            "--weigh",
            choices=get_args(Weigh),
            default="sequence",
            help="a weight a sequence, a token, or none: plain distillation (default: sequence)",
        )
        parser.add_argument(
            "--alpha", type=float, default=0.5, help="weight of the samples' tokens (default: 0.5)"
        )
        parser.add_argument("--fold", action="store_true", help="save a whole model")


def train(args: Namespace, source: str, recipe: Recipe) -> list[dict[str, Any]]:
    """Read and sort the samples, and train on the right or on the wrong ones."""
    tokenizer = load_tokenizer(source)
    right, wrong, counts = grade_samples(
        tqdm(read_all(args, one_text=not args.chat), desc="grading", disable=None),
        unanswered_wrong=args.unanswered_wrong,
    )
    print(counts)
    kept, held = hold_out(wrong if args.kind == "negative" else right, args.hold_out)
    how: dict[str, Any] = {
        "lora": args.lora,
        "dropout": args.dropout,
        "separator": args.separator,
        "chat": args.chat,
        "recipe": recipe,
        "held_out": held,
    }
    if args.kind == "negative":
        how["targets"] = args.targets or "all-linear"
        return [train_negative(source, tokenizer, kept, args.out, **how)]
    if args.kind == "nat":
        how |= {name: getattr(args, name) for name in ("negative", "unit", "beta")}
        return [train_nat(source, tokenizer, kept, args.out, **how)]
    how |= {name: getattr(args, name) for name in ("nat", "weigh", "alpha", "fold")}
    return [train_nce(source, tokenizer, kept, args.out, **how)]
