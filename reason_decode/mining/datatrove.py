"""The stages as a step of a datatrove pipeline, for its local, Ray and Slurm executors.

    LocalPipelineExecutor([JsonlReader("shards"), MiningStep(build, settings, "journals")], tasks=8)

See https://github.com/huggingface/datatrove for readers, writers and executors.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from reason_decode.mining.documents import AnnotatedDocument, Document, Dropped
from reason_decode.mining.journal import Journal
from reason_decode.mining.pipeline import Stage, mine
from reason_decode.mining.records import MiningResult

try:
    from datatrove.data import Document as Datum
    from datatrove.pipeline.base import PipelineStep
except ModuleNotFoundError as problem:
    raise ModuleNotFoundError(
        "mining in a datatrove pipeline needs datatrove: pip install 'reason-decode[distributed]'"
    ) from problem

__all__ = ["MiningStep", "from_datum", "to_data"]

Build = Callable[[str], Sequence[Stage]]


class MiningStep(PipelineStep):
    """Any number of stages as one step; several such steps may follow each other.

    With a journal, a rank that was killed goes on where it was when datatrove runs it again; keep
    the number of tasks as it was. Counts by stage go to datatrove's statistics.

    Args:
        build: settings -> stages; called once a process, for models are loaded there. It must be
            importable, so that other processes have it too.
        settings: whatever it needs, as text; the same text gives the same stages.
        journal: folder for a file a rank, where the last stage gives ``MiningResult``; else ``None``.
    """

    name = "reason-decode"
    type = "mine"

    def __init__(self, build: Build, settings: str = "", journal: str | None = None) -> None:
        super().__init__()
        self.build, self.settings, self.journal = build, settings, journal

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """The stages' results as datatrove's documents; see ``to_data``."""
        stages = _built(self.build, self.settings)
        items = (from_datum(datum) for datum in data)
        for result in _results(items, stages, self.journal, rank):
            if isinstance(result, Dropped):
                self.stat_update(f"dropped by {result.stage}")
            else:
                self.stat_update("passed")
            yield from to_data(result)


def _results(
    items: Iterable[Any], stages: Sequence[Stage], folder: str | None, rank: int
) -> Iterator[Any]:
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    opened = nullcontext() if folder is None else Journal(Path(folder, f"{rank:05d}.jsonl"))
    with opened as journal:
        yield from mine(items, stages, journal)


@lru_cache(maxsize=8)
def _built(build: Build, settings: str) -> Sequence[Stage]:
    # datatrove copies a step for every rank: what is kept on it would be loaded as often.
    return build(settings)


def from_datum(datum: Any) -> Document | AnnotatedDocument:
    """A document of datatrove's as one of ours: what ``to_data`` made, or what a reader read.

    Args:
        datum: ``source``, ``answer`` and ``similarity`` are taken from its metadata; without a
            source, ``"unknown"``.
    """
    told = datum.metadata
    source = str(told.get("source", "unknown"))
    answer, similarity = told.get("answer"), told.get("similarity")
    document = Document(str(datum.id), source, datum.text, answer, similarity)
    if "rationales" not in told:
        return document
    rejected = tuple((rationale, reason) for rationale, reason in told.get("rejected", ()))
    texts, rationales = tuple(told["texts"]), tuple(told["rationales"])
    return AnnotatedDocument(document.id, source, texts, rationales, document, rejected)


def to_data(result: Document | AnnotatedDocument | MiningResult | Dropped) -> Iterator[Any]:
    """A result as documents of datatrove's: one, or one for each rationale that is kept.

    Args:
        result: of a stage. Of a rationale the text is the text before it, and the metadata are the
            fields of its ``Record``.
    """
    if isinstance(result, MiningResult):
        for record in result.records:
            if record.kept:
                id = f"{record.source}/{record.id}#{record.place}"
                yield Datum(text=record.preceding or "", id=id, metadata=asdict(record))
    elif isinstance(result, AnnotatedDocument):
        document = result.document or Document(result.id, result.source, "".join(result.texts))
        names = ("texts", "rationales", "rejected")
        marked = {name: list(getattr(result, name)) for name in names}
        (datum,) = to_data(document)
        datum.metadata |= marked
        yield datum
    elif isinstance(result, Document):
        names = ("source", "answer", "similarity")
        metadata = {name: getattr(result, name) for name in names}
        yield Datum(text=result.text, id=result.id, metadata=metadata)
