"""``train negative``, ``nat``, ``nce``, ``baseline``: adapters that learn from graded samples."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any, get_args

from tqdm import tqdm
from transformers import PreTrainedTokenizerBase as Tokenizer

from reason_decode.adapters import load_adapted
from reason_decode.cli.prompts import read_all
from reason_decode.models.loading import load_model, load_padded_tokenizer
from reason_decode.training import (
    CalibrationLevel,
    Form,
    LabelledSolution,
    Method,
    TrainingConfig,
    augment,
    grade_samples,
    hold_out,
    train_baseline,
    train_nat,
    train_nce,
    train_negative,
)

__all__ = ["KINDS", "add_options", "train"]

KINDS = {
    "negative": "LoRA matrices that learn from wrong samples",
    "nat": "positive LoRA matrices beside negative ones, and a unit that weighs both",
    "nce": "plain LoRA matrices that learn from a NAT model, most where the negative differs",
    "baseline": "plain LoRA matrices, by a method that NAT and NCE are compared with",
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
    elif kind == "baseline":
        _add_baseline(parser)
    else:
        parser.add_argument("--nat", required=True, metavar="DIR", help="what `train nat` wrote")
        parser.add_argument(
            "--weigh",
            choices=get_args(CalibrationLevel),
            default="sequence",
            help="a weight a sequence, a token, or none: plain distillation (default: sequence)",
        )
        parser.add_argument(
            "--alpha", type=float, default=0.5, help="weight of the samples' tokens (default: 0.5)"
        )
        parser.add_argument("--fold", action="store_true", help="save a whole model")
    if kind in ("nce", "baseline"):
        _add_augment(parser)


def _add_baseline(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--method",
        choices=get_args(Method),
        required=True,
        help="ft: learn all of --data, as reference solutions; cot-kd: the right samples; mix: all "
        "samples; cl, nt, ul: contrast, negative training, unlikelihood of wrong ones",
    )
    parser.add_argument(
        "--weight", type=float, default=0.05, help="of wrong samples (default: 0.05)"
    )
    parser.add_argument("--form", choices=get_args(Form), default="token", help="of ul")
    parser.add_argument("--temperature", type=float, default=0.1, help="of cl (default: 0.1)")
    parser.add_argument(
        "--beside", type=int, default=1, help="wrong samples beside a right one (default: 1)"
    )
    parser.add_argument(
        "--targets", nargs="+", metavar="NAME", help="layers, such as q_proj (default: all)"
    )


def _add_augment(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--augment",
        metavar="DIR",
        help="an adapter of --model (of NAT, or the student of a run before) that samples "
        "solutions of all problems; right ones are learnt from, too",
    )
    parser.add_argument(
        "--augment-samples", type=int, default=4, metavar="N", help="a problem (default: 4)"
    )
    parser.add_argument(
        "--augment-tokens", type=int, default=512, metavar="N", help="a sample (default: 512)"
    )


def train(args: Namespace, source: str, recipe: TrainingConfig) -> list[dict[str, Any]]:
    """Read and sort the samples, and train on the right or on the wrong ones."""
    tokenizer = load_padded_tokenizer(source)
    solutions = read_all(args, one_text=not args.chat)
    right, wrong = solutions, list[LabelledSolution]()
    if getattr(args, "method", None) != "ft":
        graded = grade_samples(
            tqdm(solutions, desc="grading", disable=None), unanswered_wrong=args.unanswered_wrong
        )
        right, wrong = graded.right, graded.wrong
        print(graded.counts)
    if getattr(args, "augment", None):
        right = _augmented(args, source, tokenizer, solutions, right)
    kept, held = hold_out(wrong if args.kind == "negative" else right, args.hold_out)
    how: dict[str, Any] = {
        "lora": args.lora,
        "dropout": args.dropout,
        "separator": args.separator,
        "chat": args.chat,
        "recipe": recipe,
        "held_out": held,
    }
    if args.kind in ("negative", "baseline"):
        how["targets"] = args.targets or "all-linear"
    if args.kind == "negative":
        return [train_negative(source, tokenizer, kept, args.out, **how)]
    if args.kind == "nat":
        how |= {name: getattr(args, name) for name in ("negative", "unit", "beta")}
        return [train_nat(source, tokenizer, kept, args.out, **how)]
    if args.kind == "baseline":
        names = ("method", "weight", "form", "temperature", "beside")
        how |= {name: getattr(args, name) for name in names}
        others, _ = hold_out(wrong, args.hold_out)
        return [train_baseline(source, tokenizer, kept, others, args.out, **how)]
    how |= {name: getattr(args, name) for name in ("nat", "weigh", "alpha", "fold")}
    return [train_nce(source, tokenizer, kept, args.out, **how)]


def _augmented(
    args: Namespace,
    source: str,
    tokenizer: Tokenizer,
    solutions: Sequence[LabelledSolution],
    right: Sequence[LabelledSolution],
) -> list[LabelledSolution]:
    """The right samples and new ones of the model in ``args.augment``."""
    # Without an answer no sample can be graded.
    problems = {x.prompt: x for x in solutions if x.answer is not None}
    model = load_adapted(load_model(source)[0], args.augment)
    more = augment(
        model,
        tokenizer,
        right,
        [*problems.values()],
        n=args.augment_samples,
        max_new_tokens=args.augment_tokens,
        separator=args.separator,
        chat=args.chat,
        seed=args.seed,
    )
    print(f"{len(more) - len(right)} new right samples of {args.augment}")
    return more
