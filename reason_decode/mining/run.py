"""A whole mining run: from files of documents to files of rationales, resumable."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

from tqdm import tqdm

from reason_decode.io.journal import check_settings, lock
from reason_decode.io.jsonl import write_json
from reason_decode.io.read_report import ReadReport
from reason_decode.mining.config import MiningConfig
from reason_decode.mining.distributed import run_distributed
from reason_decode.mining.documents import Document, Dropped
from reason_decode.mining.journal import MiningJournal
from reason_decode.mining.output import check_parquet, write_outputs
from reason_decode.mining.pipeline import mine
from reason_decode.mining.readers import read_documents
from reason_decode.mining.report import MiningReport, draw_deltas
from reason_decode.mining.stages import (
    cut_segments,
    default_stages,
    global_stages,
    save_references,
)
from reason_decode.runs.options import SINGLE_SHARD, RunOptions

__all__ = ["MiningSummary", "run_mining"]

# Settings that do not change the records: a run may be resumed with others.
IGNORED_IN_SETTINGS = {
    *("endpoint", "api_key_env", "concurrency", "requests_per_minute", "attempts"),
    *("timeout", "total_timeout", "batch_size"),
}
# The files of a run beside its outputs, which a restart removes.
OWN_FILES = ("settings.json", "references.safetensors", "journal/*.jsonl", "shards/*.jsonl")


class MiningSummary(NamedTuple):
    """The output files and the counts of a run.

    Attributes:
        input: counts of the rows read; all 0 if a distributed run resumed from its shards.
        report: counts of documents and rationales by source and stage.
        kept: file of the rationales kept.
        dropped: file of the rejected rationales and the dropped documents.
        figure: histogram of the loss deltas; ``None`` without matplotlib or without deltas.
        retryable: kind of reason -> number of documents left for the next run.

    Examples:
        >>> from reason_decode.mining import MiningSummary
        >>> MiningSummary._fields[:3]
        ('input', 'report', 'kept')
    """

    input: ReadReport
    report: MiningReport
    kept: Path
    dropped: Path
    figure: Path | None
    retryable: Counter[str]


def run_mining(
    config: MiningConfig,
    input: Sequence[str | Path],
    output: str | Path,
    *,
    limit: int | None = None,
    parquet: bool = False,
    run: RunOptions | None = None,
) -> MiningSummary:
    """Mine rationales from files of documents into a folder.

    Documents are read, cut into segments, and sent through ``global_stages`` and
    ``default_stages``. A run that was killed resumes if it is started again; no document is mined
    twice.

    Args:
        config: models, gates and thresholds.
        input: JSON Lines files of documents; see ``read_documents``.
        output: folder of the output files ``rationales.jsonl``, ``dropped.jsonl``, ``report.json``,
            ``input.json`` and ``deltas.png``, and of the journals of the run.
        limit: number of documents to read; ``None`` for all.
        parquet: write the rationales as Parquet instead of JSON Lines.
        run: ``workers`` and ``executor`` mine as many shards in several processes or on several
            machines, by datatrove (pass it ``{"workers": 4}`` as ``executor_options`` to run only 4
            of them at a time); ``restart`` removes the results of an earlier run first. The default
            mines in this process.

    Raises:
        ValueError: an argument out of range, or the folder holds a run with other settings.
        OSError: a file cannot be read or written.
        ModuleNotFoundError: a package that the run needs is not installed.
        KeyboardInterrupt: with the number of documents done, if the user interrupts the run.

    Examples:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from reason_decode.mining import MiningConfig, run_mining
        >>> config = MiningConfig(writer="tagged", loss_model="tiny", min_loss_delta=-9)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder, "documents.jsonl")
        ...     row = {"id": "1", "text": "2 + 3<BOT>Add them.<EOT> is 5."}
        ...     size = file.write_text(json.dumps(row))
        ...     run_mining(config, [file], Path(folder, "mined")).report.rationales["documents"]
        Counter({'written': 1, 'kept': 1})
    """
    run = run or RunOptions()
    executor = run.executor or ("local" if run.workers > 1 else None)
    if limit is not None and limit < 1:
        raise ValueError(f"got limit={limit}; need at least 1")
    if run.shard != SINGLE_SHARD:
        raise ValueError(
            f"got shard {run.shard}; a mining run is divided by workers, of an executor that also "
            "submits Slurm jobs"
        )
    _check_files([*input, *config.decontaminate_against, *config.references.values()])
    if parquet:
        check_parquet()
    next(read_documents(input))  # raises before a folder is made if there is none
    output = Path(output)
    if run.restart:
        _delete_results(output)
    output.mkdir(parents=True, exist_ok=True)
    settings = {x: v for x, v in asdict(config).items() if x not in IGNORED_IN_SETTINGS}
    settings |= {"input": [str(path) for path in input], "limit": limit}
    settings |= {"executor": executor, "workers": run.workers}
    advice = "take another output, or restart (--restart) to delete the results of that run"
    check_settings(output / "settings.json", settings, advice)
    references = (output / "references.safetensors").absolute()
    save_references(config, references)
    read = ReadReport()
    documents = cut_segments(islice(read_documents(input, read), limit), config)
    if executor is None:
        retryable = _run_here(documents, config, references, output)
    else:
        run = replace(run, executor=executor)
        retryable = run_distributed(documents, config, references, output, run)
    return _write(config, output, parquet, read, retryable)


def _delete_results(output: Path) -> None:
    """Remove the files of an earlier run, and nothing else."""
    for path in output.glob("journal/*.jsonl"):
        with path.open("rb") as file:
            lock(file, path)  # refuses to delete the journal of a running process
    for pattern in OWN_FILES:
        for path in output.glob(pattern):
            path.unlink()
    for name in ("journal", "shards"):
        folder = output / name
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    rmtree(output / "logs", ignore_errors=True)  # datatrove's


def _check_files(paths: Iterable[str | Path]) -> None:
    """Raise before any work is spent if a file cannot be read."""
    for path in paths:
        with open(path, "rb"):
            pass


def _run_here(
    documents: Iterable[Document], config: MiningConfig, references: Path, output: Path
) -> Counter[str]:
    """Mine in this process; kind of reason -> number of documents left for the next run."""
    retryable: Counter[str] = Counter()
    (output / "journal").mkdir(exist_ok=True)
    first = global_stages(config)
    with MiningJournal(output / "journal" / "00000.jsonl") as journal:
        bar = tqdm(initial=len(journal.done), desc="mining", unit="document", disable=None)
        stages = default_stages(config, references)
        try:
            with bar:
                for result in mine(documents, stages, journal, global_stages=first):
                    bar.update()
                    if isinstance(result, Dropped) and result.retryable:
                        retryable[result.reason.partition(":")[0]] += 1
        except KeyboardInterrupt:
            kept = f"{len(journal.done)} documents are done and kept in {journal.path}"
            raise KeyboardInterrupt(kept) from None
    return retryable


def _write(
    config: MiningConfig, output: Path, parquet: bool, read: ReadReport, retryable: Counter[str]
) -> MiningSummary:
    """Write the output files from the journals."""
    journals = sorted((output / "journal").glob("*.jsonl"))
    kept, dropped, report = write_outputs(journals, output, parquet=parquet)
    write_json(output / "report.json", report.to_dict())
    if read.rows:  # a distributed run that resumes does not read its input again
        write_json(output / "input.json", asdict(read))
    thresholds = {"": config.min_loss_delta, **config.min_loss_delta_by_source}
    figure = output / "deltas.png"
    drawn = draw_deltas(report, thresholds, figure)
    return MiningSummary(read, report, kept, dropped, figure if drawn else None, retryable)
