"""Rationales with the text around them as training batches, held as one array of ids."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from examples.tiny.batch import Batch, token_id
from reason_decode.core.tags import TAGS
from reason_decode.mining import AnnotatedDocument
from reason_decode.models.inputs import pad_rows
from reason_decode.training import RationaleRow
from reason_decode.training.examples import IGNORE

# The rows of a training step are split into so many batches of similar lengths.
_BATCHES = 4
# Rows that are tokenized in one call.
_CHUNK = 4096


class EncodedRows(NamedTuple):
    """Rows of token ids in one array; memory for millions of rows.

    Attributes:
        ids: uint16 (t,), the ids of all rows.
        ends: int64 (r,), the end of each row in ``ids``.
        learnt_from: int64 (r,), the index in each row of the first token that is learnt.
    """

    ids: np.ndarray
    ends: np.ndarray
    learnt_from: np.ndarray


def encode_tagged(
    rows: Sequence[RationaleRow],
    tokenizer: PreTrainedTokenizerFast,
    *,
    learn_rationales: bool,
    share_without_rationale: float = 0.25,
) -> EncodedRows:
    """Rows of the preceding text, the rationale between its tags, and the following text.

    Args:
        rows: rationales whose following text is learnt.
        tokenizer: the tokenizer; tags and newlines have tokens of their own, so pieces that are
            encoded one by one have the ids of the whole text.
        learn_rationales: whether rationales are learnt, too.
        share_without_rationale: share of the rows that are repeated without their rationale.
    """
    ids: list[np.ndarray] = []
    learnt_from: list[int] = []
    bos = token_id(tokenizer.bos_token_id)
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        preceding, rationales, following = (
            tokenizer(texts, add_special_tokens=False)["input_ids"]
            for texts in (
                [x.preceding for x in chunk],
                [TAGS.around(x.rationale) for x in chunk],
                [x.following for x in chunk],
            )
        )
        pieces = zip(preceding, rationales, following, strict=True)
        for k, (text, rationale, step) in enumerate(pieces, start):
            ids.append(np.array([bos, *text, *rationale, *step], np.uint16))
            # The opening tag is part of the request for a rationale and is not learnt.
            learnt_from.append(1 + len(text) + (1 if learn_rationales else len(rationale)))
            if int((k + 1) * share_without_rationale) > int(k * share_without_rationale):
                ids.append(np.array([bos, *text, *step], np.uint16))
                learnt_from.append(1 + len(text))
    return EncodedRows(np.concatenate(ids), np.cumsum([len(x) for x in ids]), np.array(learnt_from))


def encode_as_lines(
    rows: Sequence[RationaleRow], tokenizer: PreTrainedTokenizerFast
) -> EncodedRows:
    """Rows with the rationale as one more line of the text, without tags; the line is learnt, too.

    Args:
        rows: rationales with their preceding and following texts.
        tokenizer: the tokenizer; newlines have a token of their own.
    """
    lines = [f"{x.rationale}\n{x.following}" for x in rows]
    return _encode_pairs([x.preceding for x in rows], lines, tokenizer)


def encode_documents(
    documents: Sequence[AnnotatedDocument], tokenizer: PreTrainedTokenizerFast, seed: int
) -> EncodedRows:
    """Documents with a random share of their rationales, from none to all, between tags.

    All text after the prompt is learnt, so that a document teaches as much as one row for each of
    its steps, each of which would read the text before that step again.

    Args:
        documents: documents whose first text is the prompt.
        tokenizer: the tokenizer; tags and newlines have tokens of their own.
        seed: seed of the choice of rationales.
    """
    solutions: list[str] = []
    for document in documents:
        rng = random.Random(f"whole/{seed}/{document.id}")
        share = rng.random()
        tagged = [TAGS.around(x) if rng.random() < share else "" for x in document.rationales]
        steps = zip(tagged, document.texts[1:], strict=True)
        solutions.append("".join(f"{rationale}{step}" for rationale, step in steps))
    return _encode_pairs([x.texts[0] for x in documents], solutions, tokenizer)


def _encode_pairs(
    texts: Sequence[str], continuations: Sequence[str], tokenizer: PreTrainedTokenizerFast
) -> EncodedRows:
    """Rows of a text and a continuation, of which the continuation is learnt."""
    before, after = (
        tokenizer(list(x), add_special_tokens=False)["input_ids"] for x in (texts, continuations)
    )
    bos = token_id(tokenizer.bos_token_id)
    ids = [np.array([bos, *a, *b], np.uint16) for a, b in zip(before, after, strict=True)]
    learnt_from = np.array([1 + len(a) for a in before])
    return EncodedRows(np.concatenate(ids), np.cumsum([len(x) for x in ids]), learnt_from)


def concatenate(parts: Sequence[EncodedRows]) -> EncodedRows:
    """The rows of all parts, in order."""
    offsets = np.cumsum([0, *(len(part.ids) for part in parts)])
    return EncodedRows(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.ends + k for part, k in zip(parts, offsets, strict=False)]),
        np.concatenate([part.learnt_from for part in parts]),
    )


class RationaleDataset(Dataset[list[Batch]]):
    """Item k holds the batches of the k-th training step; every row comes once in an epoch.

    Args:
        rows: all rows.
        tokenizer: the tokenizer of the rows.
        size: rows of a training step.
        seed: seed of the order of rows.
    """

    def __init__(
        self, rows: EncodedRows, tokenizer: PreTrainedTokenizerFast, size: int, seed: int
    ) -> None:
        self.rows, self.seed = rows, seed
        self.pad_id = token_id(tokenizer.pad_token_id)
        # A rationale is requested with this token, so the model must not learn to write it.
        self.opening_id = token_id(tokenizer.convert_tokens_to_ids(TAGS.opening))
        self.size = min(size, len(rows.ends))
        self.starts = rows.ends - np.diff(rows.ends, prepend=0)
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def steps(self, epochs: float) -> int:
        """Training steps of so many epochs, at least one."""
        return max(1, int(epochs * (len(self.rows.ends) // self.size)))

    def __getitem__(self, k: int) -> list[Batch]:
        epoch, place = divmod(k, len(self.rows.ends) // self.size)
        if self._order[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            self._order = epoch, generator.permutation(len(self.rows.ends))
        chosen = self._order[1][place * self.size : (place + 1) * self.size]
        lengths = self.rows.ends[chosen] - self.starts[chosen]
        chosen = chosen[np.argsort(lengths, kind="stable")]
        return [self._batch(part) for part in np.array_split(chosen, _BATCHES) if len(part)]

    def _batch(self, chosen: np.ndarray) -> Batch:
        id_rows: list[torch.Tensor] = []
        label_rows: list[torch.Tensor] = []
        for k in chosen:
            row = torch.from_numpy(self.rows.ids[self.starts[k] : self.rows.ends[k]].astype(int))
            labels = row.clone()
            labels[: self.rows.learnt_from[k]] = IGNORE
            labels[labels == self.opening_id] = IGNORE
            id_rows.append(row)
            label_rows.append(labels)
        ids, _ = pad_rows(id_rows, side="right", value=self.pad_id)
        labels, _ = pad_rows(label_rows, side="right", value=IGNORE)
        return Batch(
            ids,
            labels,
            torch.full(ids.shape, IGNORE),
            torch.empty((*ids.shape, 0), dtype=torch.long),
            torch.empty((*ids.shape, 0), dtype=torch.long),
        )
