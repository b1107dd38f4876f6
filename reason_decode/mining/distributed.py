"""A mining run in several processes or on several machines, by datatrove's executors."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from reason_decode.mining.config import MiningConfig
from reason_decode.mining.documents import Document, Dropped
from reason_decode.mining.journal import MiningJournal, read_journal
from reason_decode.mining.pipeline import Stage, run_stages
from reason_decode.mining.stages import default_stages, global_stages
from reason_decode.runs.executors import load_executor
from reason_decode.runs.options import RunOptions

__all__ = ["run_distributed"]


def run_distributed(
    documents: Iterable[Document],
    config: MiningConfig,
    references: Path,
    output: Path,
    run: RunOptions,
) -> Counter[str]:
    """Split the documents into shards, and mine each shard as a task of an executor.

    The global stages run while the documents are split, in this process. Each shard has its own
    journal, so that a task that failed resumes where it stopped.

    Args:
        documents: all documents; not read if the shards exist from an earlier run.
        config: the settings of the pipeline.
        references: file of the embedded reference sets.
        output: folder of the run; gets ``shards``, ``journal`` and datatrove's ``logs``.
        run: ``executor``, ``workers`` (the number of shards) and ``executor_options``.

    Returns:
        Where to look -> number of documents that no task has done, for Ray's executor does not
        raise if a task fails. Empty for Slurm, whose jobs are only submitted.

    Raises:
        ModuleNotFoundError: datatrove, or Ray for its executor, is not installed.
    """
    step: Any = import_module("reason_decode.mining.datatrove").MiningStep
    readers: Any = import_module("datatrove.pipeline.readers")
    assert run.executor is not None
    make = load_executor(run.executor)
    output = output.absolute()
    shards, journals = output / "shards", output / "journal"
    if not shards.exists():
        _split(documents, global_stages(config), shards, journals, run.workers)
    build = partial(_build, references=str(references))
    make(
        pipeline=[readers.JsonlReader(str(shards)), step(build, config, str(journals))],
        tasks=run.workers,
        logging_dir=str(output / "logs"),
        # A task that datatrove calls complete may have documents that are to be tried again.
        **{"skip_completed": False, **run.executor_options},
    ).run()
    left = 0 if run.executor == "slurm" else _count_left(shards, journals)
    return Counter({f"see {output / 'logs'}": left} if left else {})


def _build(config: MiningConfig, references: str) -> Sequence[Stage]:
    """The stages of a task, in its process."""
    return default_stages(config, references)


def _count_left(shards: Path, journals: Path) -> int:
    """The number of documents of all shards that are in no journal."""
    done = {
        (row["source"], row["id"])
        for path in journals.glob("*.jsonl")
        for row in read_journal(path)
    }
    left = 0
    for path in shards.iterdir():
        with path.open(encoding="utf-8") as file:
            rows = map(json.loads, file)
            left += sum((row["metadata"]["source"], row["id"]) not in done for row in rows)
    return left


def _split(
    documents: Iterable[Document],
    stages: Sequence[Stage],
    shards: Path,
    journals: Path,
    tasks: int,
) -> None:
    """Write the documents in turn to one file per task; the folder appears once all are written."""
    unfinished = shards.with_name("shards.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    journals.mkdir(exist_ok=True)
    with ExitStack() as opened:
        journal = opened.enter_context(MiningJournal(journals / "split.jsonl"))
        files = [
            opened.enter_context((unfinished / f"{k:05d}.jsonl").open("w", encoding="utf-8"))
            for k in range(tasks)
        ]
        count = 0
        for item in run_stages(documents, stages):
            if isinstance(item, Dropped):
                if item not in journal:
                    journal.write(item)
                continue
            metadata = {"source": item.source, "answer": item.answer}
            row = {"id": item.id, "text": item.text, "metadata": metadata}
            files[count % tasks].write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    os.replace(unfinished, shards)
