"""Mining stages as a step of a datatrove pipeline, for its local, Ray and Slurm executors.

    steps = [JsonlReader("shards"), MiningStep(default_stages, config, "journals")]
    LocalPipelineExecutor(steps, tasks=8).run()

See https://github.com/huggingface/datatrove for readers, writers and executors.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reason_decode.mining.documents import AnnotatedDocument, Document, Dropped
from reason_decode.mining.journal import MiningJournal
from reason_decode.mining.pipeline import Stage, mine
from reason_decode.mining.results import MiningResult

try:
    from datatrove.data import Document as DatatroveDocument
    from datatrove.pipeline.base import PipelineStep
except ModuleNotFoundError as problem:
    raise ModuleNotFoundError(
        "mining in a datatrove pipeline needs datatrove: pip install 'reason-decode[distributed]'"
    ) from problem

__all__ = ["MiningStep", "from_datatrove", "to_datatrove"]

Build = Callable[[Any], Sequence[Stage]]
"""Settings -> stages."""

# datatrove copies a step for every task; the stages, with their models, are built once per process.
_BUILT: dict[str, tuple[Build, Sequence[Stage]]] = {}


class MiningStep(PipelineStep):
    """A step of a datatrove pipeline that runs mining stages; several steps may follow each other.

    With a journal, a task that was killed resumes when datatrove runs it again, if the number of
    tasks is the same. Counts by stage are added to datatrove's statistics.

    Args:
        build: settings -> stages, such as ``default_stages``; called once per process, which loads
            the models. It must be importable, so that it can be pickled.
        settings: argument of ``build``, such as a ``MiningConfig``; a value that can be pickled and
            whose ``repr`` is complete.
        journal: folder of one journal per task, if the last stage yields ``MiningResult``; or
            ``None``.
    """

    name = "reason-decode"
    type = "mine"

    def __init__(self, build: Build, settings: Any = None, journal: str | None = None) -> None:
        super().__init__()
        self.build, self.settings, self.journal = build, settings, journal

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """The results of the stages as datatrove documents; see ``to_datatrove``."""
        key = repr((self.build, self.settings))
        if key not in _BUILT:
            _BUILT[key] = self.build, self.build(self.settings)
        stages = _BUILT[key][1]
        items = (from_datatrove(document) for document in data)
        for result in _results(items, stages, self.journal, rank):
            if isinstance(result, Dropped):
                self.stat_update(f"dropped by {result.stage}")
            else:
                self.stat_update("passed")
            yield from to_datatrove(result)


def _results(
    items: Iterable[Any], stages: Sequence[Stage], folder: str | None, rank: int
) -> Iterator[Any]:
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
    path = None if folder is None else Path(folder, f"{rank:05d}.jsonl")
    with nullcontext() if path is None else MiningJournal(path) as journal:
        yield from mine(items, stages, journal)


def from_datatrove(document: Any) -> Document | AnnotatedDocument:
    """A datatrove document, read from a file or made by ``to_datatrove``, as one of ours.

    Args:
        document: a datatrove document; ``source`` (default ``"unknown"``), ``answer`` and
            ``similarity`` are read from its metadata.
    """
    metadata = document.metadata
    source = str(metadata.get("source", "unknown"))
    answer, similarity = metadata.get("answer"), metadata.get("similarity")
    plain = Document(str(document.id), source, document.text, answer, similarity)
    if "rationales" not in metadata:
        return plain
    rejected = tuple((rationale, reason) for rationale, reason in metadata.get("rejected", ()))
    texts, rationales = tuple(metadata["texts"]), tuple(metadata["rationales"])
    return AnnotatedDocument(plain.id, source, texts, rationales, plain, rejected)


def to_datatrove(
    result: Document | AnnotatedDocument | MiningResult | Dropped,
) -> Iterator[Any]:
    """The result of a stage as datatrove documents: one, or one per rationale that is kept.

    Args:
        result: the result of a stage; nothing is made of a ``Dropped``. A rationale becomes a
            document whose text is the text before it, with the fields of its ``Record`` as
            metadata.
    """
    if isinstance(result, MiningResult):
        for record in result.records:
            if record.kept:
                id = f"{record.source}/{record.id}#{record.index}"
                text = record.preceding or ""
                yield DatatroveDocument(text=text, id=id, metadata=asdict(record))
    elif isinstance(result, AnnotatedDocument):
        plain = result.document or Document(result.id, result.source, "".join(result.texts))
        (document,) = to_datatrove(plain)
        document.metadata |= {
            "texts": list(result.texts),
            "rationales": list(result.rationales),
            "rejected": list(result.rejected),
        }
        yield document
    elif isinstance(result, Document):
        metadata = {
            "source": result.source,
            "answer": result.answer,
            "similarity": result.similarity,
        }
        yield DatatroveDocument(text=result.text, id=result.id, metadata=metadata)
