"""``reason-decode mine``: rationales from raw text, for a rationale model to learn from."""

import json
import math
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from reason_decode.io.console import printable, table
from reason_decode.io.journal import check_settings
from reason_decode.io.jsonl import write_json
from reason_decode.mining import Document, Dropped, Journal, ReadReport, mine, read_documents
from reason_decode.mining.distributed import run_distributed
from reason_decode.mining.output import check_parquet, write_outputs
from reason_decode.mining.report import Report, draw_deltas
from reason_decode.mining.stages import build, build_first, cut, pairs, write_references
from reason_decode.runs.options import Executor

__all__ = ["add", "run"]

# What does not change the records: a run that is taken up again may have these otherwise.
IGNORED_IN_SETTINGS = {
    *(
        "command",
        "run",
        "argv",
        "concurrency",
        "per_minute",
        "attempts",
        "timeout",
        "key",
        "batch_size",
    ),
    *("workers", "executor_options", "parquet", "endpoint", "out"),
}


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser: ArgumentParser = commands.add_parser(
        "mine",
        help="mine rationales from text",
        description=__doc__,
        epilog="A run that was killed goes on when the same command is given again.",
    )
    _add_data(parser)
    _add_writer(parser)
    _add_gates(parser)
    parser.add_argument("--executor", choices=("here", *get_args(Executor)), default="here")
    parser.add_argument("--tasks", type=int, default=1, help="parts of the data (default: 1)")
    parser.add_argument("--workers", type=int, default=-1, help="parts at once (default: all)")
    parser.add_argument(
        "--executor-options",
        type=json.loads,
        default={},
        metavar="JSON",
        help='for datatrove\'s executor, such as \'{"partition": "gpu", "time": "20:00:00"}\'',
    )
    parser.set_defaults(run=run)


def _add_data(parser: ArgumentParser) -> None:
    option = parser.add_argument
    option("--data", required=True, nargs="+", metavar="FILE", help="JSON Lines, .gz or not")
    option("--out", required=True, metavar="DIR", help="for the records, the report, the journal")
    option("--limit", type=int, metavar="K", help="only the first K documents")
    option("--segment-tokens", type=int, default=2000, help="of a piece (default: 2000)")
    option("--segment-tokenizer", metavar="NAME", help="counts those (default: words)")
    option(
        "--duplicates",
        type=float,
        default=0.8,
        metavar="SHARE",
        help="of n-grams in common that makes a near duplicate; 1 for no check (default: 0.8)",
    )
    option("--evaluation-set", nargs="+", default=[], metavar="FILE", help="not to be learnt")
    option("--ngram", type=int, default=13, help="words in common with it (default: 13)")
    option(
        "--reference",
        nargs="+",
        default=[],
        metavar="NAME=FILE",
        help="sets that documents must be similar to (default: any document will do)",
    )
    option(
        "--embedder",
        default="sentence-transformers/all-MiniLM-L6-v2",
        help="of sentence-transformers, or MODULE:FUNCTION, texts -> (n, h)",
    )
    option("--similarity", type=float, default=0.3, help="cosine to reach (default: 0.3)")
    option("--parquet", action="store_true", help="write the rationales as Parquet")


def _add_writer(parser: ArgumentParser) -> None:
    option = parser.add_argument
    option(
        "--writer",
        required=True,
        metavar="NAME",
        help="chat model that puts rationales in: a folder, a Hub id, its name at the endpoint, or "
        "MODULE:FUNCTION, chats -> answers; `given` where the texts have them, between <BOT> and "
        "<EOT>",
    )
    option("--endpoint", metavar="URL", help="of OpenAI's form, such as http://localhost:8000/v1")
    option("--key", default="OPENAI_API_KEY", metavar="VARIABLE", help="that holds the key")
    option("--concurrency", type=int, default=8, help="requests at once (default: 8)")
    option("--per-minute", type=float, metavar="N", help="requests a minute at most")
    option("--attempts", type=int, default=6, help="requests for one document (default: 6)")
    option("--timeout", type=float, default=600.0, help="seconds to wait (default: 600)")
    option("--max-tokens", type=int, default=4096, help="of an answer (default: 4096)")
    option(
        "--domain",
        nargs="+",
        default=["general"],
        metavar="[SOURCE=]NAME",
        help="of the worked examples: general or math (default: general)",
    )


def _add_gates(parser: ArgumentParser) -> None:
    option = parser.add_argument
    option("--faithful", type=float, default=0.9, help="edit similarity to keep (default: 0.9)")
    option("--leak-ngram", type=int, default=8, help="words of what follows (default: 8)")
    option("--judge", default="tiny", help="model whose loss has to fall (default: tiny)")
    option("--discount", type=float, default=0.9, help="of the i-th token (default: 0.9)")
    option(
        "--threshold",
        nargs="+",
        default=["0"],
        metavar="[SOURCE=]NATS",
        help="by which the loss has to fall (default: 0)",
    )
    option("--batch-size", type=int, default=8, help="documents a forward pass (default: 8)")


def run(args: Namespace) -> int:
    """Mine what is not mined yet, write the outputs, print what became of it all."""
    _check(args)
    out = Path(args.out)
    settings = _settings(args, out)
    write_references(settings)
    reading, again = ReadReport(), Counter()
    documents = cut(islice(read_documents(args.data, reading), args.limit), settings)
    if args.executor == "here":
        again = _run_here(documents, settings, out)
    else:
        again = run_distributed(args, documents, settings, out)
    if reading.rows:  # else the parts of an earlier run were taken up
        write_json(out / "input.json", asdict(reading))
        print(reading)
    _finish(args, out)
    if again:
        reasons = ", ".join(f"{count} x {printable(why)}" for why, count in again.most_common(3))
        print(f"not done: {again.total()} documents ({reasons}); give the command again")
    return 1 if again else 0


def _run_here(documents: Iterable[Document], settings: str, out: Path) -> Counter[str]:
    """Mine in this process; the kinds of reasons why documents are left for another run."""
    again: Counter[str] = Counter()
    (out / "journal").mkdir(exist_ok=True)
    first = build_first(settings)
    with Journal(out / "journal" / "00000.jsonl") as journal:
        bar = tqdm(initial=len(journal.done), desc="mining", unit="document", disable=None)
        stages = build(settings)
        try:
            with bar:
                for result in mine(documents, stages, journal, first=first):
                    bar.update()
                    if isinstance(result, Dropped) and result.again:
                        again[result.reason.partition(":")[0]] += 1
        except KeyboardInterrupt:
            kept = f"{len(journal.done)} documents are done and kept in {journal.path}"
            raise KeyboardInterrupt(kept) from None
    return again


def _settings(args: Namespace, out: Path) -> str:
    """The options as text; those that a run of this folder began with must be the same."""
    fixed = {name: value for name, value in vars(args).items() if name not in IGNORED_IN_SETTINGS}
    out.mkdir(parents=True, exist_ok=True)
    check_settings(out / "settings.json", fixed, "take another --out")
    options = {name: x for name, x in vars(args).items() if name not in ("run", "argv")}
    return json.dumps(options | {"references": str((out / "references.safetensors").absolute())})


def _check(args: Namespace) -> None:
    """Raise before any work is spent if an option cannot be."""
    for name in ("limit", "tasks", "segment_tokens", "ngram", "batch_size", "leak_ngram"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"got --{name.replace('_', '-')} {value}; need at least 1")
    if not 0 < args.duplicates <= 1:
        raise ValueError(f"got --duplicates {args.duplicates}; need a share above 0, at most 1")
    if not 0 < args.discount <= 1:
        raise ValueError(f"got --discount {args.discount}; need a number above 0, at most 1")
    if args.endpoint and (args.writer == "given" or ":" in args.writer):
        raise ValueError(
            f"got --endpoint with --writer {args.writer}; name the model that is served there"
        )
    if not isinstance(args.executor_options, dict):
        raise ValueError(f"got --executor-options {args.executor_options!r:.80}; need an object")
    if args.executor == "here" and args.tasks != 1:
        raise ValueError(f"got --tasks {args.tasks} here; --executor local runs several")
    least = pairs(args.threshold, float)
    args.threshold = [f"{name}={value}" if name else f"{value}" for name, value in least.items()]
    if not all(map(math.isfinite, least.values())):
        raise ValueError(f"got --threshold {' '.join(args.threshold)}; need finite numbers")
    if "" not in least:
        raise ValueError(
            f"got --threshold {' '.join(args.threshold)}; give one for all other sources too, such "
            "as 0"
        )
    sets = pairs(args.reference, str, fallback=False)
    for path in (*args.data, *args.evaluation_set, *sets.values()):
        with open(path, "rb"):
            pass
    if args.parquet:
        check_parquet()


def _finish(args: Namespace, out: Path) -> None:
    journals = sorted((out / "journal").glob("*.jsonl"))
    written = write_outputs(journals, out, parquet=args.parquet)
    write_json(out / "report.json", written.report.to_dict())
    drawn = draw_deltas(written.report, pairs(args.threshold, float), out / "deltas.png")
    if written.report.documents:
        print(_table(written.report))
    for stage, reasons in written.report.reasons.items():
        for reason, count in reasons.most_common():
            print(f"{stage}: {count} x {printable(reason)}")
    print(f"kept: {written.kept}; the others: {written.dropped}; counts: {out / 'report.json'}")
    if drawn:
        print(f"deltas: {out / 'deltas.png'}")


def _table(report: Report) -> str:
    def row(source: str) -> dict[str, Any]:
        documents, found = report.documents[source], report.rationales[source]
        stages = ("dedup", "decontaminate", "prefilter", "extract", "faithful")
        counts = {f"- {stage}": documents[stage] for stage in stages}
        leaks = {"leaky": found["faithful"], "below": found["keep"], "kept": found["kept"]}
        return {"source": source, "documents": documents["taken"], **counts} | {
            "rationales": found["written"],
            **leaks,
        }

    return table([row(source) for source in report.documents])
