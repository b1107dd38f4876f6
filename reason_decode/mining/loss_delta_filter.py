"""The RATIONALYST filter: rationales that lower a model's loss on the text after them."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.tags import TAGS, Tags
from reason_decode.io.oom import BatchFailure, run_in_halves
from reason_decode.mining.branches import encode_branches, loss_deltas
from reason_decode.mining.documents import AnnotatedDocument, Document, Dropped
from reason_decode.mining.results import MiningResult, Record
from reason_decode.models.attention import supports_4d_mask
from reason_decode.models.inputs import max_positions
from reason_decode.models.lm_head import NextTokenLogits

__all__ = ["ScoredRationale", "filter_rationales", "score_rationales"]


@dataclass(frozen=True, slots=True)
class ScoredRationale:
    """A rationale, and by how much it lowers the loss of the text after it.

    Attributes:
        document: the document of the rationale.
        index: index of the rationale in the document.
        delta: ``sum_i discount**i (log p(y_i | before, rationale) - log p(y_i | before))`` in nats
            over the tokens y of the piece after the rationale; ``None`` if it has no loss delta.
        mean_delta: ``delta / sum_i discount**i``, in nats.
        tokens: number of tokens y.
        reason: why the rationale is rejected; ``""`` if it is kept.

    Examples:
        >>> from reason_decode.mining import ScoredRationale, parse_annotated
        >>> document, _ = parse_annotated("1", "web", "2 + 3<BOT>Add them.<EOT> is 5.")
        >>> ScoredRationale(document, 0, delta=1.5, mean_delta=0.4, tokens=4, reason="").kept
        True
    """

    document: AnnotatedDocument
    index: int
    delta: float | None
    mean_delta: float | None
    tokens: int
    reason: str

    @property
    def kept(self) -> bool:
        """True if the loss delta reaches the threshold."""
        return not self.reason


def score_rationales(
    documents: Iterable[AnnotatedDocument],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    discount: float = 0.9,
    min_loss_delta: float | Mapping[str, float] = 0.0,
    tags: Tags = TAGS,
    batch_size: int = 8,
) -> Iterator[ScoredRationale]:
    r"""Measure by how much each rationale lowers the loss of the piece of text after it.

    A document takes one forward pass: its text without rationales and, in the same row, each
    rationale with the piece after it, which attends to the text before the rationale only. Models
    that take no such attention mask (sliding windows, recurrent states) read each rationale in a
    row of its own. No logits are kept, and the output matrix is read once for both contexts.

    Args:
        documents: any number; read as results are asked for.
        model: the causal language model whose loss is measured.
        tokenizer: the tokenizer of ``model``.
        discount: weight of the i-th token is ``discount**i``.
        min_loss_delta: nats that ``delta`` must reach; one number, or source -> number, where
            ``""`` is for all other sources.
        tags: the tags put around a rationale when the model reads it.
        batch_size: documents per forward pass.

    Yields:
        A ``ScoredRationale`` per rationale, in order.

    Raises:
        KeyError: a document's source has no threshold.

    Source: RATIONALYST, section 3 (arXiv 2410.01044): loss without minus loss with the rationale,
    at least 1.2 for GSM8K, 0.5 for ECQA, 0 for web text.

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.mining import parse_annotated, score_rationales
        >>> t = tiny.load()
        >>> text = "Make 24 from 4 6.\\n<BOT>4 * 6 = 24<EOT>4 * 6 = 24 (left: 24)\\n"
        >>> document, _ = parse_annotated("1", "countdown", text)
        >>> [found.tokens > 0 for found in score_rationales([document], t.model, t.tokenizer)]
        [True]
    """
    yield from _score(
        documents, NextTokenLogits(model), tokenizer, discount, min_loss_delta, tags, batch_size
    )


def _score(
    documents: Iterable[AnnotatedDocument],
    next_token: NextTokenLogits,
    tokenizer: PreTrainedTokenizerBase,
    discount: float,
    min_loss_delta: float | Mapping[str, float],
    tags: Tags,
    batch_size: int,
) -> Iterator[ScoredRationale]:
    """The results of ``score_rationales``, by a model that has been probed."""
    model = next_token.model
    packed = supports_4d_mask(model)
    waiting = iter(documents)
    while batch := list(islice(waiting, batch_size)):
        encoded = [encode_branches(each, tokenizer, tags, max_positions(model)) for each in batch]
        found: dict[tuple[int, int], ScoredRationale] = {}
        for k, each in enumerate(encoded):
            for index, reason in each.rejected.items():
                found[k, index] = ScoredRationale(each.document, index, None, None, 0, reason)
        branches = [(k, branch) for k, each in enumerate(encoded) for branch in each.branches]
        if branches:
            thresholds = [_threshold(batch[k].source, min_loss_delta) for k, _ in branches]
            deltas = loss_deltas(next_token, encoded, discount, torch.tensor(thresholds), packed)
            columns = (x.tolist() for x in (deltas.sums, deltas.means, deltas.passed))
            for (k, branch), delta, mean, passed in zip(branches, *columns, strict=True):
                reason = "" if passed else "the loss falls by less than the threshold"
                if math.isnan(delta):
                    reason = "the loss is not a number"
                found[k, branch.index] = ScoredRationale(
                    batch[k], branch.index, delta, mean, len(branch.following), reason
                )
        yield from (found[key] for key in sorted(found))


def filter_rationales(
    documents: Iterable[AnnotatedDocument],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    discount: float = 0.9,
    min_loss_delta: float | Mapping[str, float] = 0.0,
    tags: Tags = TAGS,
    batch_size: int = 8,
) -> Iterator[MiningResult | Dropped]:
    """Last stage: each document with a record of every rationale, kept or rejected by its delta.

    A batch that runs out of memory is split in halves; a document that does not fit alone is
    dropped as ``retryable``.

    Args:
        documents: any number; read as results are asked for.
        model: the causal language model whose loss is measured.
        tokenizer: the tokenizer of ``model``.
        discount: weight of the i-th token is ``discount**i``.
        min_loss_delta: nats that a rationale must lower the loss by; one number, or source ->
            number, where ``""`` is for all other sources.
        tags: the tags put around a rationale when the model reads it.
        batch_size: documents per forward pass.

    Yields:
        A ``MiningResult`` per document, in order, or a ``Dropped``.

    Raises:
        KeyError: a document's source has no threshold.

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.mining import filter_rationales, parse_annotated
        >>> t = tiny.load()
        >>> document, _ = parse_annotated("1", "web", "2 + 3<BOT>Add them.<EOT> is 5.")
        >>> found = filter_rationales([document], t.model, t.tokenizer, min_loss_delta=-9.0)
        >>> [record.kept for result in found for record in result.records]
        [True]
    """
    next_token = NextTokenLogits(model)

    def filter_batch(batch: Sequence[AnnotatedDocument]) -> list[MiningResult]:
        scored = _score(
            batch, next_token, tokenizer, discount, min_loss_delta, tags, batch_size=len(batch)
        )
        # Each document has one ScoredRationale per rationale, in order.
        return [_result(each, list(islice(scored, len(each.rationales)))) for each in batch]

    waiting = iter(documents)
    while batch := list(islice(waiting, batch_size)):
        for part, found in run_in_halves(filter_batch, batch):
            if isinstance(found, BatchFailure):
                yield Dropped(_document(part[0]), "filter", found.reason, retryable=True)
            else:
                yield from found


def _document(annotated: AnnotatedDocument) -> Document:
    text = "".join(annotated.texts)
    return annotated.document or Document(annotated.id, annotated.source, text)


def _result(annotated: AnnotatedDocument, scored: Sequence[ScoredRationale]) -> MiningResult:
    id, source = annotated.id, annotated.source
    similarity = annotated.document.similarity if annotated.document else None
    records = []
    for x in scored:
        # JSON has no NaN or infinity.
        finite = x.delta is not None and math.isfinite(x.delta)
        records.append(
            Record(
                id=id,
                source=source,
                similarity=similarity,
                index=x.index,
                preceding=annotated.preceding(x.index),
                rationale=annotated.rationales[x.index],
                following=annotated.texts[x.index + 1],
                delta=x.delta if finite else None,
                mean_delta=x.mean_delta if finite else None,
                tokens=x.tokens,
                stage="filter",
                reason=x.reason,
            )
        )
    records += [
        Record(id, source, similarity, rationale, "faithful", reason)
        for rationale, reason in annotated.rejected
    ]
    return MiningResult(id, source, similarity, tuple(records))


def _threshold(source: str, min_loss_delta: float | Mapping[str, float]) -> float:
    if not isinstance(min_loss_delta, Mapping):
        return min_loss_delta
    threshold = min_loss_delta.get(source, min_loss_delta.get(""))
    if threshold is None:
        raise KeyError(
            f"got a document of {source!r} and thresholds of "
            f"{', '.join(map(repr, min_loss_delta))}; give one for it, or a single number for all"
        )
    return threshold
