"""Shards of labelled documents, and the filter of their rationales by calibrated loss deltas."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from examples.tiny.rationales import COUNTDOWN, LabelledDocument
from reason_decode.io.jsonl import write_rows
from reason_decode.mining import (
    AnnotatedDocument,
    CalibratedThreshold,
    ScoredRationale,
    calibrate_threshold,
    score_rationales,
)
from reason_decode.models.devices import default_device
from reason_decode.training import RationaleRow

# The first of these precisions whose threshold keeps enough right rationales is used. Before a
# first operation little tells a right aim from a wrong one; with one precision for all, no such
# rationale would be kept and none would be learnt.
PRECISIONS = (0.95, 0.9, 0.85, 0.8, 0.01)
MIN_RECALL = 0.3


def write_documents(path: Path, documents: Iterable[LabelledDocument]) -> None:
    """Write labelled documents as JSON Lines; the file appears only once it is complete."""
    write_rows(path, ({**asdict(x.document), "right": x.right} for x in documents))


def read_documents(path: Path) -> Iterator[LabelledDocument]:
    """The labelled documents of a file from ``write_documents``."""
    with path.open() as file:
        for line in file:
            row = json.loads(line)
            texts, rationales = tuple(row["texts"]), tuple(row["rationales"])
            document = AnnotatedDocument(row["id"], row["source"], texts, rationales)
            yield LabelledDocument(document, tuple(row["right"]))


def to_rows(documents: Iterable[LabelledDocument]) -> list[RationaleRow]:
    """Every candidate rationale of the documents, with the text around it."""
    return [
        RationaleRow(x.id, x.source, x.preceding(k), rationale, x.texts[k + 1])
        for x, _ in documents
        for k, rationale in enumerate(x.rationales)
    ]


def to_row(scored: ScoredRationale) -> RationaleRow:
    """A scored rationale with the text around it and its delta."""
    document, k = scored.document, scored.index
    texts = (document.preceding(k), document.rationales[k], document.texts[k + 1])
    return RationaleRow(document.id, document.source, *texts, scored.delta)


def calibration_group(document: AnnotatedDocument, index: int) -> str:
    """The name of the rationales that share a threshold with this one.

    It is the document's source; countdown also has the number of steps that are left.

    Args:
        document: a document from ``rationales``.
        index: index of the rationale in the document.
    """
    if document.source == COUNTDOWN:
        return f"{document.source} {len(document.rationales) - index}"
    return document.source


def calibrate_groups(
    scored: Sequence[ScoredRationale], right: Sequence[bool]
) -> dict[str, CalibratedThreshold]:
    """A threshold for each calibration group.

    Args:
        scored: rationales with deltas; those without are left out.
        right: whether each rationale is right.

    Raises:
        ValueError: no rationale of some group is right.
    """
    groups: dict[str, list[tuple[float, bool]]] = {}
    for x, good in zip(scored, right, strict=True):
        if x.delta is not None:
            group = calibration_group(x.document, x.index)
            groups.setdefault(group, []).append((x.delta, good))
    return {name: _threshold(pairs) for name, pairs in sorted(groups.items())}


def _threshold(pairs: Sequence[tuple[float, bool]]) -> CalibratedThreshold:
    deltas, good = zip(*pairs, strict=True)
    for precision in PRECISIONS[:-1]:
        try:
            found = calibrate_threshold(deltas, good, precision=precision)
        except ValueError:
            continue
        if found.recall >= MIN_RECALL:
            return found
    return calibrate_threshold(deltas, good, precision=PRECISIONS[-1])


def calibrate_on_shard(reader: Path, shard: Path) -> dict[str, CalibratedThreshold]:
    """A threshold for each calibration group, from the labels of one shard.

    Args:
        reader: folder of the model that computes deltas.
        shard: file of labelled documents.
    """
    documents = list(read_documents(shard))
    scored = list(_score(reader, (x.document for x in documents)))
    return calibrate_groups(scored, [good for x in documents for good in x.right])


def mine_shard(
    path: Path, drawn: Path, reader: Path, thresholds: Mapping[str, CalibratedThreshold]
) -> None:
    """Write the rationales of a shard that help the reader to predict the text after them.

    Args:
        path: the file to write.
        drawn: folder with the shard, a file of the same name.
        reader: folder of the model that computes deltas.
        thresholds: the threshold of each calibration group.
    """
    documents = (x.document for x in read_documents(drawn / path.name))
    kept = balance([x for x in _score(reader, documents) if _passes(x, thresholds)])
    write_rows(path, (asdict(to_row(x)) for x in kept))


def balance(scored: Sequence[ScoredRationale]) -> list[ScoredRationale]:
    """The rationales, with equally many from each countdown group: the first of the larger ones."""
    groups = [calibration_group(x.document, x.index) for x in scored]
    countdown = [g for x, g in zip(scored, groups, strict=True) if x.document.source == COUNTDOWN]
    remaining = Counter(dict.fromkeys(countdown, min(Counter(countdown).values(), default=0)))
    kept: list[ScoredRationale] = []
    for x, group in zip(scored, groups, strict=True):
        if x.document.source == COUNTDOWN:
            remaining[group] -= 1
            if remaining[group] < 0:
                continue
        kept.append(x)
    return kept


def _passes(scored: ScoredRationale, thresholds: Mapping[str, CalibratedThreshold]) -> bool:
    least = thresholds.get(calibration_group(scored.document, scored.index))
    return least is not None and scored.delta is not None and scored.delta >= least.threshold


def _score(reader: Path, documents: Iterable[AnnotatedDocument]) -> Iterator[ScoredRationale]:
    model, tokenizer = _load_reader(reader)
    least = float("-inf")
    yield from score_rationales(documents, model, tokenizer, min_loss_delta=least, batch_size=64)


@lru_cache(1)
def _load_reader(reader: Path) -> tuple[Any, PreTrainedTokenizerFast]:
    """The model and tokenizer of a folder, loaded once in each process."""
    model: Any = AutoModelForCausalLM.from_pretrained(reader).eval()
    model.to(default_device())
    return model, PreTrainedTokenizerFast.from_pretrained(reader)
