"""``reason-decode mine`` in several processes or machines: datatrove runs them."""

import json
import os
import shutil
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any

from reason_decode.mining import Document, Dropped, Journal, through
from reason_decode.mining.journal import read_journal
from reason_decode.mining.stages import build, build_first
from reason_decode.runs.executors import load_executor

__all__ = ["run_distributed"]


def run_distributed(
    args: Namespace, documents: Iterable[Document], settings: str, out: Path
) -> Counter[str]:
    """Split the documents into parts, and mine those by one of datatrove's executors.

    Duplicates and test items are dropped while splitting, which one process does. Every part has a
    journal of its own; what a part has done is not done again, whatever became of its process.

    Returns:
        How many documents are left for another run, by reason: Ray's executor does not raise when a
        part fails. Of Slurm's, whose jobs are only submitted, nothing is said.

    Raises:
        ModuleNotFoundError: datatrove, or Ray for its executor, is not installed.
    """
    step: Any = import_module("reason_decode.mining.datatrove").MiningStep
    readers: Any = import_module("datatrove.pipeline.readers")
    make = load_executor(args.executor)
    out = out.absolute()
    shards = out / "shards"
    if not shards.exists():
        _split(documents, settings, shards, out / "journal", args.tasks)
    options = {"tasks": args.tasks, "logging_dir": str(out / "logs"), **args.executor_options}
    if args.executor in ("local", "ray"):
        options.setdefault("workers", args.workers)
    # A part that datatrove calls complete may have documents that are to be tried again.
    options.setdefault("skip_completed", False)
    journal = str(out / "journal")
    make(
        pipeline=[readers.JsonlReader(str(shards)), step(build, settings, journal)], **options
    ).run()
    left = 0 if args.executor == "slurm" else _left(out)
    return Counter({f"see {out / 'logs'}": left} if left else {})


def _left(out: Path) -> int:
    """How many documents of the parts no journal has."""
    journals = (out / "journal").glob("*.jsonl")
    done = {(row["source"], row["id"]) for path in journals for row in read_journal(path)}
    left = 0
    for path in (out / "shards").iterdir():
        with path.open(encoding="utf-8") as file:
            rows = map(json.loads, file)
            left += sum((row["metadata"]["source"], row["id"]) not in done for row in rows)
    return left


def _split(
    documents: Iterable[Document], settings: str, shards: Path, journals: Path, tasks: int
) -> None:
    """Write the documents, in turns, to a file a task; the folder appears when all are written."""
    started = shards.with_name("shards.tmp")
    shutil.rmtree(started, ignore_errors=True)
    started.mkdir()
    journals.mkdir(exist_ok=True)
    with ExitStack() as opened:
        journal = opened.enter_context(Journal(journals / "split.jsonl"))
        files = [
            opened.enter_context((started / f"{k:05d}.jsonl").open("w", encoding="utf-8"))
            for k in range(tasks)
        ]
        place = 0
        for item in through(documents, build_first(settings)):
            if isinstance(item, Dropped):
                if item not in journal:
                    journal.write(item)
                continue
            told = {"source": item.source, "answer": item.answer}
            row = {"id": item.id, "text": item.text, "metadata": told}
            files[place % tasks].write(json.dumps(row, ensure_ascii=False) + "\n")
            place += 1
    os.replace(started, shards)
