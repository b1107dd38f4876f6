"""Rationales with the text around them as training batches, held as one array of ids."""

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PreTrainedTokenizerFast

from examples.tiny.batch import IGNORE, Batch, as_id
from reason_decode.core.tags import TAGS
from reason_decode.mining import AnnotatedDocument
from reason_decode.training import RationaleRow

# The rows of a step go through the model in so many batches, each of like lengths.
_PARTS = 4
# Texts that are encoded at once.
_AT_ONCE = 4096


class Encoded(NamedTuple):
    """Rows of ids, one behind the other.

    Attributes:
        ids: uint16 (t,).
        ends: int64 (r,), where each row ends.
        learnt: int64 (r,), at which place in its row what is to be learnt begins.
    """

    ids: np.ndarray
    ends: np.ndarray
    learnt: np.ndarray


def encode(
    rows: Sequence[RationaleRow], words: PreTrainedTokenizerFast, *, write: bool, bare: float = 0.25
) -> Encoded:
    """Rows as ids: the text, the rationale between its tags, what follows.

    Args:
        rows: of which what follows is learnt.
        words: the tokenizer; tags and newlines are tokens of their own, so that pieces that are
            encoded apart are what the whole would be.
        write: whether the rationale is learnt, too.
        bare: of which share of the rows what follows is learnt without the rationale, too.
    """
    ids: list[np.ndarray] = []
    learnt: list[int] = []
    bos = as_id(words.bos_token_id)
    for start in range(0, len(rows), _AT_ONCE):
        some = rows[start : start + _AT_ONCE]
        before, rationales, following = (
            words(texts, add_special_tokens=False)["input_ids"]
            for texts in (
                [x.preceding for x in some],
                [TAGS.around(x.rationale) for x in some],
                [x.following for x in some],
            )
        )
        for k, (text, rationale, step) in enumerate(
            zip(before, rationales, following, strict=True), start
        ):
            ids.append(np.array([bos, *text, *rationale, *step], np.uint16))
            # The opening tag is there when a rationale is asked for.
            learnt.append(1 + len(text) + (1 if write else len(rationale)))
            if int((k + 1) * bare) > int(k * bare):
                ids.append(np.array([bos, *text, *step], np.uint16))
                learnt.append(1 + len(text))
    return Encoded(np.concatenate(ids), np.cumsum([len(x) for x in ids]), np.array(learnt))


def encode_said(rows: Sequence[RationaleRow], words: PreTrainedTokenizerFast) -> Encoded:
    """Rows as ids with the rationale as one more line of the text.

    Args:
        rows: as for ``encode``.
        words: the tokenizer, as for ``encode``.
    """
    lines = [f"{x.rationale}\n{x.following}" for x in rows]
    return _learnt_after([x.preceding for x in rows], lines, words)


def encode_whole(
    documents: Sequence[AnnotatedDocument], words: PreTrainedTokenizerFast, seed: int
) -> Encoded:
    """Documents as ids, each with a share of its rationales, from none to all, between tags.

    All that follows the prompt is learnt: so a document teaches as much as a row for each of its
    steps would, which read the text before that step again each time.

    Args:
        documents: of which everything but the first text is learnt.
        words: the tokenizer, as for ``encode``.
        seed: of what is left out.
    """
    rests: list[str] = []
    for document in documents:
        rng = random.Random(f"whole/{seed}/{document.id}")
        share = rng.random()
        shown = [TAGS.around(x) if rng.random() < share else "" for x in document.rationales]
        steps = zip(shown, document.texts[1:], strict=True)
        rests.append("".join(f"{x}{step}" for x, step in steps))
    return _learnt_after([x.texts[0] for x in documents], rests, words)


def _learnt_after(
    texts: Sequence[str], rests: Sequence[str], words: PreTrainedTokenizerFast
) -> Encoded:
    """Rows as ids of which all that follows a first text is learnt."""
    before, after = (words(list(x), add_special_tokens=False)["input_ids"] for x in (texts, rests))
    bos = as_id(words.bos_token_id)
    ids = [np.array([bos, *a, *b], np.uint16) for a, b in zip(before, after, strict=True)]
    learnt = np.array([1 + len(a) for a in before])
    return Encoded(np.concatenate(ids), np.cumsum([len(x) for x in ids]), learnt)


def joined(parts: Sequence[Encoded]) -> Encoded:
    """All rows of all parts, in order."""
    offsets = np.cumsum([0, *(len(part.ids) for part in parts)])
    return Encoded(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.ends + k for part, k in zip(parts, offsets, strict=False)]),
        np.concatenate([part.learnt for part in parts]),
    )


class RationaleBatches(Dataset[list[Batch]]):
    """Item k is the k-th training step; every row comes once an epoch.

    Args:
        rows: what there is.
        words: the tokenizer of the rows.
        size: rows a step.
        seed: of the order.
    """

    def __init__(self, rows: Encoded, words: PreTrainedTokenizerFast, size: int, seed: int) -> None:
        self.rows, self.seed = rows, seed
        self.pad = as_id(words.pad_token_id)
        # It is there when a rationale is asked for, and never to be written.
        self.asks = as_id(words.convert_tokens_to_ids(TAGS.opening))
        self.size = min(size, len(rows.ends))
        self.starts = rows.ends - np.diff(rows.ends, prepend=0)
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def steps(self, epochs: float) -> int:
        """How many steps so many epochs are."""
        return max(1, int(epochs * (len(self.rows.ends) // self.size)))

    def __getitem__(self, k: int) -> list[Batch]:
        epoch, place = divmod(k, len(self.rows.ends) // self.size)
        if self._order[0] != epoch:
            generator = np.random.default_rng([self.seed, epoch])
            self._order = epoch, generator.permutation(len(self.rows.ends))
        chosen = self._order[1][place * self.size : (place + 1) * self.size]
        lengths = self.rows.ends[chosen] - self.starts[chosen]
        chosen = chosen[np.argsort(lengths, kind="stable")]
        return [self._batch(part) for part in np.array_split(chosen, _PARTS) if len(part)]

    def _batch(self, chosen: np.ndarray) -> Batch:
        lengths = self.rows.ends[chosen] - self.starts[chosen]
        shape = len(chosen), int(lengths.max())
        ids, labels = np.full(shape, self.pad), np.full(shape, IGNORE)
        for row, k in enumerate(chosen):
            own = self.rows.ids[self.starts[k] : self.rows.ends[k]]
            ids[row, : len(own)] = own
            labels[row, self.rows.learnt[k] : len(own)] = own[self.rows.learnt[k] :]
        labels[labels == self.asks] = IGNORE
        return Batch(
            torch.from_numpy(ids),
            torch.from_numpy(labels),
            torch.full(shape, IGNORE),
            torch.empty((*shape, 0), dtype=torch.long),
            torch.empty((*shape, 0), dtype=torch.long),
        )
