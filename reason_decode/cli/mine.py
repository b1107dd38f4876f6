"""``reason-decode mine``: mine rationales from raw text, for a rationale model to learn from."""

import inspect
import json
import re
from argparse import ArgumentParser, Namespace
from dataclasses import MISSING, Field, fields
from typing import Any, get_args, get_origin, get_type_hints

from reason_decode.cli.run_options import add_run_options, make_run_options
from reason_decode.io.console import printable, table
from reason_decode.mining import MiningConfig, MiningReport, MiningSummary, run_mining

__all__ = ["add", "run"]


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser: ArgumentParser = commands.add_parser(
        "mine",
        help="mine rationales from text",
        description=__doc__,
        epilog="A run that was killed resumes when the same command is given again.",
    )
    option = parser.add_argument
    option("--input", required=True, nargs="+", metavar="FILE", help="JSON Lines, .gz or not")
    option("--output", required=True, metavar="DIR", help="for records, report and journals")
    option("--limit", type=int, metavar="K", help="read only the first K documents")
    option("--parquet", action="store_true", help="write the rationales as Parquet")
    help_texts = _help_texts()
    types = get_type_hints(MiningConfig)
    for each in fields(MiningConfig):
        _add_field(parser, each, types[each.name], help_texts[each.name])
    add_run_options(parser, "--output")
    parser.set_defaults(run=run)


def _help_texts() -> dict[str, str]:
    """The argument lines of the config's docstring."""
    text = inspect.getdoc(MiningConfig) or ""
    text = text.partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"(?ms)^    (\w+): (.*?)(?=^    \w|\Z)", text)
    return {name: " ".join(line.split()).replace("%", "%%") for name, line in found}


def _add_field(parser: ArgumentParser, field: Field[Any], kind: Any, help: str) -> None:
    name, options = "--" + field.name.replace("_", "-"), dict[str, Any](help=help)
    types = [x for x in get_args(kind) if x is not type(None)]
    if field.default is not MISSING:
        options["default"] = field.default
    elif field.default_factory is not MISSING:
        options["default"] = field.default_factory()
    else:
        options["required"] = True
    if isinstance(options.get("default"), dict):
        options |= {"type": _json_object, "metavar": "JSON"}
    elif isinstance(options.get("default"), tuple):
        options["nargs"] = "*"
    elif types and isinstance(types[0], str):
        options["choices"] = types
    else:
        options["type"] = types[0] if types and get_origin(kind) is not tuple else kind
    parser.add_argument(name, **options)


def _json_object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"got {text}; need a JSON object")
    return found


def run(args: Namespace) -> int:
    """Mine what is not mined yet, and print the counts."""
    given = {field.name: getattr(args, field.name) for field in fields(MiningConfig)}
    given["decontaminate_against"] = tuple(given["decontaminate_against"])
    summary = run_mining(
        MiningConfig(**given),
        args.input,
        args.output,
        limit=args.limit,
        parquet=args.parquet,
        run=make_run_options(args),
    )
    _print(summary)
    return 1 if summary.retryable else 0


def _print(summary: MiningSummary) -> None:
    if summary.input.rows:
        print(summary.input)
    if summary.report.documents:
        print(_table(summary.report))
    for stage, reasons in summary.report.reasons.items():
        for reason, count in reasons.most_common():
            print(f"{stage}: {count} x {printable(reason)}")
    counts = summary.kept.parent / "report.json"
    print(f"kept: {summary.kept}; dropped: {summary.dropped}; counts: {counts}")
    if summary.figure:
        print(f"deltas: {summary.figure}")
    if left := summary.retryable:
        reasons = ", ".join(f"{count} x {printable(why)}" for why, count in left.most_common(3))
        print(f"not done: {left.total()} documents ({reasons}); give the command again")


def _table(report: MiningReport) -> str:
    def row(source: str) -> dict[str, Any]:
        documents, rationales = report.documents[source], report.rationales[source]
        stages = ("dedup", "decontaminate", "prefilter", "extract", "faithful")
        return {
            "source": source,
            "documents": documents["taken"],
            **{f"- {stage}": documents[stage] for stage in stages},
            "rationales": rationales["written"],
            "leaky": rationales["faithful"],
            "below": rationales["filter"],
            "kept": rationales["kept"],
        }

    return table([row(source) for source in report.documents])
