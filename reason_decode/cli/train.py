"""``reason-decode train``: train a scorer, a rationale model or an adapter."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from typing import Any

from tqdm import tqdm

from reason_decode import tiny
from reason_decode.adapters import load_adapter
from reason_decode.cli.config_options import add_config, make_config
from reason_decode.cli.prompts import add_suffix, read_all
from reason_decode.io.console import printable, table
from reason_decode.io.jsonl import ReadReport, check_writable, write_json
from reason_decode.models.loading import load_model, load_padded_tokenizer
from reason_decode.training import (
    BaselineConfig,
    LabelledSolution,
    NATConfig,
    NCEConfig,
    NegativeConfig,
    NGramRankerConfig,
    ORMConfig,
    PRMConfig,
    RankerConfig,
    RationaleRow,
    RationalystConfig,
    SamplingConfig,
    active_learning,
    augment,
    grade_samples,
    hold_out,
    read_rationales,
    split_documents,
    train_baseline,
    train_nat,
    train_nce,
    train_negative,
    train_ngram_ranker,
    train_orm,
    train_prm,
    train_ranker,
    train_rationalyst,
)

__all__ = ["add", "run"]

KINDS: dict[str, tuple[type, str]] = {
    "prm": (PRMConfig, "a process reward model: a class for each step"),
    "orm": (ORMConfig, "an outcome reward model: is the answer right"),
    "active": (PRMConfig, "process reward models in rounds, labelling what convinces the last"),
    "rationalyst": (RationalystConfig, "a rationale model, from mined rationales"),
    "negative": (NegativeConfig, "a LoRA adapter of wrong samples"),
    "nat": (NATConfig, "a positive LoRA adapter, and a gate that mixes it with a negative one"),
    "nce": (NCEConfig, "a plain LoRA adapter, distilled from a NAT adapter"),
    "baseline": (BaselineConfig, "a plain LoRA adapter, by a method that NAT is compared with"),
    "ranker": (RankerConfig, "a ranker of whole solutions, which weighs votes"),
    "ngram-ranker": (NGramRankerConfig, "a linear ranker, which needs no model"),
}
STEPS = ("prm", "active")
SAMPLES = ("negative", "nat", "nce", "baseline", "ranker", "ngram-ranker")


def add(commands: Any) -> None:
    """Add the subcommand and its kinds."""
    parser: ArgumentParser = commands.add_parser(
        "train", help="train a reward model, a rationale model or an adapter", description=__doc__
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="WHAT")
    for name, (config, text) in KINDS.items():
        kind: ArgumentParser = kinds.add_parser(name, help=text)
        kind.set_defaults(run=run)
        _add_data(kind, name)
        add_config(kind, config, without=("num_labels",) if name in STEPS else ())
        if name in STEPS:
            _add_steps(kind)
        if name == "active":
            _add_rounds(kind)
        if name in ("nce", "baseline"):
            _add_augment(kind)


def _add_data(parser: ArgumentParser, kind: str) -> None:
    option = parser.add_argument
    if kind != "ngram-ranker":
        option("--model", default="tiny", help="model to start from: tiny, a folder or a Hub id")
    option("--input", required=True, nargs="+", metavar="FILE", help="JSON Lines, .gz or not")
    option("--output", required=True, metavar="DIR", help="folder of the trained model")
    option(
        "--hold-out",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="share of the prompts, or documents, whose loss is measured (default: 0.05)",
    )
    option("--json", metavar="OUT", help="write counts and losses to this file")
    if kind != "rationalyst":
        add_suffix(parser)
        option("--format", default="auto", help="layout of the input (default: detected)")
    if kind in SAMPLES:
        option(
            "--unanswered-wrong",
            action="store_true",
            help="count samples that state no answer as wrong; else they are left out",
        )


def _add_steps(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--neutral",
        choices=("positive", "negative", "keep"),
        default="positive",
        help="label of neutral steps; keep: a class of its own (default: positive)",
    )
    parser.add_argument(
        "--all-steps", action="store_true", help="learn labels after the first wrong step, too"
    )


def _add_rounds(parser: ArgumentParser) -> None:
    option = parser.add_argument
    option("--rounds", type=int, default=3, help="rounds after the first (default: 3)")
    option("--per-problem", type=int, default=2, help="solutions labelled per problem and round")
    option("--wrong-share", type=float, default=0.8, help="share of wrong ones (default: 0.8)")
    option("--uniform", action="store_true", help="choose at random, for comparison")
    option("--selector", help="process reward model that chooses in the first round")


def _add_augment(parser: ArgumentParser) -> None:
    option = parser.add_argument
    option(
        "--augment",
        metavar="DIR",
        help="adapter of the model that samples solutions of all problems; right ones are learned",
    )
    option("--augment-samples", type=int, default=4, metavar="N", help="per problem (default: 4)")
    option("--augment-tokens", type=int, default=512, metavar="N", help="per sample (default: 512)")


def run(args: Namespace) -> int:
    """Read, split, train, save; print counts and losses."""
    if args.json:
        check_writable(args.json)
    source = "" if args.kind == "ngram-ranker" else args.model
    source = str(tiny.WEIGHTS / "base") if source == "tiny" else source
    rows = _train(args, source)
    if args.json:
        write_json(args.json, {"rows": rows})
    shown = [
        {k.replace("_", " "): _short(x) for k, x in row.items() if k != "chosen"} for row in rows
    ]
    print(table(shown))
    print(f"saved in {args.output}" + ("/round-*" if args.kind == "active" else ""))
    return 0


def _train(args: Namespace, source: str) -> list[dict[str, Any]]:
    config: Any = make_config(
        KINDS[args.kind][0],
        args,
        **({"num_labels": 3 if args.neutral == "keep" else 2} if args.kind in STEPS else {}),
    )
    if args.kind in STEPS:
        return _train_steps(args, source, config)
    if args.kind == "orm":
        tokenizer = load_padded_tokenizer(source)
        kept, held = hold_out(read_all(args, one_text=False), args.hold_out)
        return [train_orm(source, tokenizer, kept, args.output, config, held_out=held)]
    if args.kind == "rationalyst":
        tokenizer = load_padded_tokenizer(source)
        records, held = split_documents(_read_records(args.input), args.hold_out)
        return [train_rationalyst(source, tokenizer, records, args.output, config, held_out=held)]
    if args.kind in ("ranker", "ngram-ranker"):
        return _train_ranker(args, source, config)
    return _train_adapter(args, source, config)


def _train_steps(args: Namespace, source: str, config: PRMConfig) -> list[dict[str, Any]]:
    tokenizer = load_padded_tokenizer(source)
    solutions = read_all(
        args,
        one_text=config.head == "token-classification",
        neutral=args.neutral,
        until_first_error=not args.all_steps,
    )
    kept, held = hold_out(solutions, args.hold_out)
    if args.kind == "prm":
        return [train_prm(source, tokenizer, kept, args.output, config, held_out=held)]
    return active_learning(
        source,
        tokenizer,
        kept,
        args.output,
        config,
        rounds=args.rounds,
        per_problem=args.per_problem,
        wrong_share=args.wrong_share,
        uniform=args.uniform,
        selector=args.selector,
        held_out=held,
    )


def _train_ranker(args: Namespace, source: str, config: Any) -> list[dict[str, Any]]:
    linear = args.kind == "ngram-ranker"
    tokenizer: Any = None if linear else load_padded_tokenizer(source)
    # The text before a pair is the same for all solutions of a problem; a chat turn has no suffix.
    right, wrong = _grade(args, read_all(args, one_text=linear or not tokenizer.chat_template))
    (right, right_held), (wrong, wrong_held) = (
        hold_out(side, args.hold_out) for side in (right, wrong)
    )
    held = right_held, wrong_held
    if linear:
        return [train_ngram_ranker(right, wrong, args.output, config, held_out=held)]
    return [train_ranker(source, tokenizer, right, wrong, args.output, config, held_out=held)]


def _train_adapter(args: Namespace, source: str, config: Any) -> list[dict[str, Any]]:
    tokenizer = load_padded_tokenizer(source)
    solutions = read_all(args, one_text=not config.chat)
    right, wrong = solutions, list[LabelledSolution]()
    if args.kind != "baseline" or config.method != "ft":
        right, wrong = _grade(args, solutions)
    if args.kind in ("nce", "baseline") and args.augment:
        right = _augment(args, source, tokenizer, solutions, right, config)
    kept, held = hold_out(wrong if args.kind == "negative" else right, args.hold_out)
    if args.kind == "baseline":
        others, _ = hold_out(wrong, args.hold_out)
        return [train_baseline(source, tokenizer, kept, others, args.output, config, held_out=held)]
    trainers: dict[str, Callable[..., dict[str, Any]]] = {
        "negative": train_negative,
        "nat": train_nat,
        "nce": train_nce,
    }
    train = trainers[args.kind]
    return [train(source, tokenizer, kept, args.output, config, held_out=held)]


def _grade(
    args: Namespace, solutions: Sequence[LabelledSolution]
) -> tuple[list[LabelledSolution], list[LabelledSolution]]:
    """Right and wrong samples; the counts are printed."""
    bar = tqdm(solutions, desc="grading", disable=None)
    right, wrong, counts = grade_samples(bar, unanswered_wrong=args.unanswered_wrong)
    print(counts)
    return right, wrong


def _augment(
    args: Namespace,
    source: str,
    tokenizer: Any,
    solutions: Sequence[LabelledSolution],
    right: Sequence[LabelledSolution],
    config: Any,
) -> list[LabelledSolution]:
    """The right samples, and new right ones of the adapter in ``--augment``."""
    # A sample is graded by the reference answer of its problem.
    problems = {x.prompt: x for x in solutions if x.answer is not None}
    model = load_adapter(load_model(source)[0], args.augment)
    sampling = SamplingConfig(
        n=args.augment_samples,
        max_new_tokens=args.augment_tokens,
        separator=config.separator,
        chat=config.chat,
        seed=config.seed,
    )
    more = augment(model, tokenizer, right, [*problems.values()], sampling)
    print(f"{len(more) - len(right)} new right samples of {args.augment}")
    return more


def _read_records(paths: Sequence[str]) -> list[RationaleRow]:
    """The rationales of all files; the counts of each file are printed."""
    found: list[RationaleRow] = []
    for path in paths:
        report = ReadReport()
        records = read_rationales(path, report)
        found += records
        documents = len({(record.source, record.id) for record in records})
        print(f"{path}: rationales of {documents} documents; {printable(str(report))}")
    return found


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}" if isinstance(value, float) else str(value)
