"""``reason-decode train``: train a scorer, a rationale model or an adapter."""

from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from dataclasses import fields
from typing import Any

from reason_decode import tiny
from reason_decode.cli import train_graded, train_ranker, train_rationalyst
from reason_decode.cli.prompts import add_suffix, read_all
from reason_decode.io.console import table
from reason_decode.io.jsonl import check_writable, write_json
from reason_decode.models.loading import load_padded_tokenizer
from reason_decode.training import (
    LabelledSolution,
    TrainingConfig,
    active_learning,
    hold_out,
    train_orm,
    train_prm,
)

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the subcommand and what can be trained."""
    parser: ArgumentParser = commands.add_parser(
        "train", help="train a reward model, a rationale model or an adapter", description=__doc__
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="WHAT")
    prm: ArgumentParser = kinds.add_parser("prm", help="a process reward model: a class a step")
    orm: ArgumentParser = kinds.add_parser("orm", help="an outcome reward model: is it right")
    active: ArgumentParser = kinds.add_parser(
        "active", help="process reward models in rounds, each on what convinced the last"
    )
    rationalyst: ArgumentParser = kinds.add_parser(
        "rationalyst", help="a rationale model: what is to come next, and why"
    )
    graded: dict[str, ArgumentParser] = {
        name: kinds.add_parser(name, help=text) for name, text in train_graded.KINDS.items()
    }
    ranker: ArgumentParser = kinds.add_parser("ranker", help=train_ranker.HELP)
    for kind in (prm, orm, active, rationalyst, ranker, *graded.values()):
        _add_data(kind)
        _add_recipe(kind, train_ranker.RECIPE if kind is ranker else TrainingConfig())
        kind.set_defaults(run=run)
    for kind in (prm, orm, active, ranker, *graded.values()):
        _add_format(kind)
    for kind in (prm, active):
        _add_steps(kind)
    train_rationalyst.add_options(rationalyst)
    train_ranker.add_options(ranker)
    for name, kind in graded.items():
        train_graded.add_options(kind, name)
    active.add_argument("--rounds", type=int, default=3, help="after the first (default: 3)")
    active.add_argument(
        "--per-problem", type=int, default=2, help="solutions labelled in a round (default: 2)"
    )
    active.add_argument(
        "--wrong-share",
        type=float,
        default=0.8,
        help="of those, whose answers are wrong (default: 0.8)",
    )
    active.add_argument("--uniform", action="store_true", help="choose at random, to compare with")
    active.add_argument(
        "--selector",
        help="a process reward model that chooses in the first round, a folder or a Hub id "
        "(default: one solution of each problem at random)",
    )


def _add_steps(parser: ArgumentParser) -> None:
    """What is learnt at each step."""
    parser.add_argument(
        "--head",
        default="token-classification",
        help="token-classification, or math-shepherd: the tokens + and - at a tag (default: the "
        "first)",
    )
    parser.add_argument(
        "--neutral",
        choices=("positive", "negative", "keep"),
        default="positive",
        help="what a rating of 0 is; keep: a class of its own (default: positive)",
    )
    parser.add_argument(
        "--all-steps",
        action="store_true",
        help="learn from labels behind the first wrong step too",
    )


def _add_data(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="tiny", help="to begin with: tiny, a folder or a Hub id (default: tiny)"
    )
    parser.add_argument(
        "--data",
        required=True,
        nargs="+",
        metavar="FILE",
        help="JSON Lines, .gz or not, of labelled solutions, of samples, or of mined rationales",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="the model goes here")
    parser.add_argument("--separator", default="\n", help="what ends a step (default: a newline)")
    parser.add_argument(
        "--lora",
        type=int,
        metavar="RANK",
        help="train LoRA matrices, which are folded into reward models; 8 for adapters",
    )
    parser.add_argument(
        "--hold-out",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="of the prompts, or documents, to measure the loss on (default: 0.05)",
    )
    parser.add_argument("--json", metavar="OUT", help="write counts and losses here")


def _add_format(parser: ArgumentParser) -> None:
    add_suffix(parser)
    parser.add_argument(
        "--format",
        default="auto",
        help="prm800k, stepwise, math-shepherd, processbench, bigbench-mistake, plain, samples or "
        "math-samples (default: told by a file's first row)",
    )


def _add_recipe(parser: ArgumentParser, recipe: TrainingConfig) -> None:
    """An option for each field of ``TrainingConfig``, with the defaults of this one."""
    for field in fields(TrainingConfig):
        name, default = "--" + field.name.replace("_", "-"), getattr(recipe, field.name)
        if isinstance(default, bool):
            parser.add_argument(name, action=BooleanOptionalAction, default=default)
        else:
            parser.add_argument(
                name, type=type(default), default=default, help=f"(default: {default})"
            )


def run(args: Namespace) -> int:
    """Read, split, train, save; print what became of the data and the losses."""
    recipe = TrainingConfig(
        **{field.name: getattr(args, field.name) for field in fields(TrainingConfig)}
    )
    if args.json:
        check_writable(args.json)
    source = str(tiny.WEIGHTS / "base") if args.model == "tiny" else args.model
    others = {"rationalyst": train_rationalyst.train, "ranker": train_ranker.train}
    others |= dict.fromkeys(train_graded.KINDS, train_graded.train)
    rows = others.get(args.kind, _train)(args, source, recipe)
    if args.json:
        write_json(args.json, {"rows": rows})
    shown = [
        {k.replace("_", " "): _short(x) for k, x in row.items() if k != "chosen"} for row in rows
    ]
    print(table(shown))
    print(f"saved in {args.out}" + ("/round-*" if args.kind == "active" else ""))
    return 0


def _train(args: Namespace, source: str, recipe: TrainingConfig) -> list[dict[str, Any]]:
    """Train a reward model, or one a round."""
    tokenizer = load_padded_tokenizer(source)
    kept, held = hold_out(_solutions(args), args.hold_out)
    how: dict[str, Any] = {
        "separator": args.separator,
        "lora": args.lora,
        "recipe": recipe,
        "held_out": held,
    }
    if args.kind == "orm":
        return [train_orm(source, tokenizer, kept, args.out, **how)]
    how |= {"head": args.head, "ratings": args.neutral == "keep"}
    if args.kind == "prm":
        return [train_prm(source, tokenizer, kept, args.out, **how)]
    names = ("rounds", "per_problem", "wrong_share", "uniform", "selector")
    how |= {name: getattr(args, name) for name in names}
    return active_learning(source, tokenizer, kept, args.out, **how)


def _solutions(args: Namespace) -> list[LabelledSolution]:
    if args.kind == "orm":
        # It has the tokenizer's chat template to tell the prompt from the answer.
        return read_all(args, one_text=False)
    return read_all(
        args,
        one_text=args.head == "token-classification",
        neutral=args.neutral,
        until_first_error=not args.all_steps,
    )


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
