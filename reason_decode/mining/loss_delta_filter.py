"""Which rationales to keep: those that lower the loss of the text behind them."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.tags import TAGS, Tags
from reason_decode.generation.engine import supports_4d_mask
from reason_decode.io.oom import Failed, by_halves
from reason_decode.kernels import LossDelta, loss_delta
from reason_decode.mining.documents import AnnotatedDocument, Document, Dropped
from reason_decode.mining.records import MiningResult, Record
from reason_decode.models.devices import input_device
from reason_decode.models.heads import lm_head_of

__all__ = ["ScoredRationale", "judge", "keep"]


class ScoredRationale(NamedTuple):
    """A rationale and what it does for the text behind it.

    Attributes:
        document: where it stands.
        place: which of the document's rationales it is.
        delta: ``sum_i discount**i (log p(y_i | before, rationale) - log p(y_i | before))`` in nats
            over the tokens y of the piece behind it; ``None`` where that could not be computed.
        mean: ``delta`` over ``sum_i discount**i``.
        tokens: how many tokens y has.
        reason: why it is not kept; ``""`` if it is.

    Example:
        >>> from reason_decode.mining import ScoredRationale, parse_marked
        >>> marked, _ = parse_marked("1", "web", "2 + 3<BOT>Add them.<EOT> is 5.")
        >>> ScoredRationale(marked, 0, delta=1.5, mean=0.4, tokens=4, reason="").kept
        True
    """

    document: AnnotatedDocument
    place: int
    delta: float | None
    mean: float | None
    tokens: int
    reason: str

    @property
    def kept(self) -> bool:
        """Whether the rationale is worth training on."""
        return not self.reason


class _Branch(NamedTuple):
    """A rationale and the piece behind it, as ids that go on from a place in the bare document."""

    place: int
    start: int
    rationale: list[int]
    following: list[int]


class _Laid(NamedTuple):
    """A document as ids: bare of rationales, and a branch for each rationale."""

    document: AnnotatedDocument
    ids: list[int]
    branches: list[_Branch]
    rejected: dict[int, str]


def judge(
    documents: Iterable[AnnotatedDocument],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    discount: float = 0.9,
    threshold: float | Mapping[str, float] = 0.0,
    tags: Tags = TAGS,
    batch: int = 8,
) -> Iterator[ScoredRationale]:
    r"""Say of each rationale how much it lowers the loss of the piece of text behind it.

    A document is read once: bare, and behind it, in the same pass, each rationale with the piece
    that follows, which sees the document only up to where it stands. Models that cannot be told
    what sees what (sliding windows, recurrent states) read each branch in a row of its own. Either
    way no logits are held, and the output matrix is gone through once for both contexts.

    Args:
        documents: any number; they are read as results are asked for.
        model: a causal language model, the judge.
        tokenizer: its own.
        discount: weighs the i-th token by ``discount**i``.
        threshold: nats that ``delta`` must reach; one for all, or by source, where ``""`` stands
            for all that are not named.
        tags: put around a rationale when it is read.
        batch: documents to a forward pass.

    Yields:
        A ``ScoredRationale`` for every rationale, in order.

    Raises:
        KeyError: a document's source has no threshold.

    Source: RATIONALYST, section 3 (arXiv 2410.01044): loss without minus loss with the rationale,
    at least 1.2 for GSM8K, 0.5 for ECQA, 0 for web text.

    Example:
        >>> from reason_decode import tiny
        >>> from reason_decode.mining import judge, parse_marked
        >>> models = tiny.load()
        >>> text = "Make 24 from 4 6.\\n<BOT>4 * 6 = 24<EOT>4 * 6 = 24 (left: 24)\\n"
        >>> marked, _ = parse_marked("1", "countdown", text)
        >>> [found.tokens > 0 for found in judge([marked], models.model, models.tokenizer)]
        [True]
    """
    forked = supports_4d_mask(model)
    waiting = iter(documents)
    while group := list(islice(waiting, batch)):
        laid = [_lay_out(document, tokenizer, tags, _room(model)) for document in group]
        found: dict[tuple[int, int], ScoredRationale] = {}
        for k, each in enumerate(laid):
            for place, reason in each.rejected.items():
                found[k, place] = ScoredRationale(each.document, place, None, None, 0, reason)
        places = [(k, branch) for k, each in enumerate(laid) for branch in each.branches]
        if places:
            least = [_threshold(laid[k].document.source, threshold) for k, _ in places]
            deltas = _deltas(model, laid, discount, torch.tensor(least), forked)
            columns = (x.tolist() for x in (deltas.sums, deltas.means, deltas.keep))
            for (k, branch), delta, mean, keep in zip(places, *columns, strict=True):
                reason = "" if keep else "the loss falls by less than the threshold"
                if math.isnan(delta):
                    reason = "the loss is not a number"
                found[k, branch.place] = ScoredRationale(
                    laid[k].document, branch.place, delta, mean, len(branch.following), reason
                )
        yield from (found[key] for key in sorted(found))


def keep(
    documents: Iterable[AnnotatedDocument],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    discount: float = 0.9,
    threshold: float | Mapping[str, float] = 0.0,
    tags: Tags = TAGS,
    batch: int = 8,
) -> Iterator[MiningResult | Dropped]:
    """The last stage: each document with a record of every rationale, kept or not and why.

    A batch for which there is no memory is judged by halves; a document for which alone there is
    none is left for another run.

    Args:
        documents: any number; read as results are asked for.
        model: as for ``judge``, like the others.
        tokenizer: its own.
        discount: weighs the i-th token by ``discount**i``.
        threshold: as for ``judge``.
        tags: put around a rationale when it is read.
        batch: documents to a forward pass.

    Raises:
        KeyError: a document's source has no threshold, and neither has ``""``.

    Example:
        >>> from reason_decode import tiny
        >>> from reason_decode.mining import parse_marked
        >>> from reason_decode.mining import keep
        >>> models = tiny.load()
        >>> marked, _ = parse_marked("1", "web", "2 + 3<BOT>Add them.<EOT> is 5.")
        >>> (mined,) = keep([marked], models.model, models.tokenizer, threshold={"": -9.0})
        >>> [record.kept for record in mined.records]
        [True]
    """
    how: dict[str, Any] = {"discount": discount, "threshold": threshold, "tags": tags}

    def do(group: Sequence[AnnotatedDocument]) -> list[MiningResult]:
        judged = judge(group, model, tokenizer, **how, batch=len(group))
        # One for every rationale, in order.
        return [_mined(marked, list(islice(judged, len(marked.rationales)))) for marked in group]

    waiting = iter(documents)
    while group := list(islice(waiting, batch)):
        for part, found in by_halves(do, group):
            if isinstance(found, Failed):
                yield Dropped(_document(part[0]), "keep", found.reason, again=True)
            else:
                yield from found


def _document(marked: AnnotatedDocument) -> Document:
    return marked.document or Document(marked.id, marked.source, "".join(marked.texts))


def _mined(marked: AnnotatedDocument, judged: Sequence[ScoredRationale]) -> MiningResult:
    similarity = marked.document.similarity if marked.document else None
    name = {"id": marked.id, "source": marked.source, "similarity": similarity}
    # JSON has no word for what is not a number.
    known = [x.delta is not None and math.isfinite(x.delta) for x in judged]
    records = [
        Record(
            **name,
            place=x.place,
            preceding=marked.preceding(x.place),
            rationale=marked.rationales[x.place],
            following=marked.texts[x.place + 1],
            delta=x.delta if told else None,
            mean=x.mean if told else None,
            tokens=x.tokens,
            stage="keep",
            reason=x.reason,
        )
        for x, told in zip(judged, known, strict=True)
    ]
    records += [
        Record(**name, rationale=rationale, stage="faithful", reason=reason)
        for rationale, reason in marked.rejected
    ]
    return MiningResult(marked.id, marked.source, similarity, tuple(records))


def _lay_out(
    document: AnnotatedDocument, tokenizer: PreTrainedTokenizerBase, tags: Tags, room: int | None
) -> _Laid:
    """The document's ids; its pieces are tokenised apart, so that both contexts have the same."""
    ids = list(tokenizer("")["input_ids"])
    branches, rejected = [], {}
    for index, text in enumerate(document.texts):
        piece = tokenizer(text, add_special_tokens=False)["input_ids"]
        if index:
            rationale = document.rationales[index - 1]
            written = tokenizer(tags.around(rationale), add_special_tokens=False)["input_ids"]
            before, length = document.preceding(index - 1), len(ids) + len(written) + len(piece)
            reason = _unfit(before, rationale, piece, length, room)
            if reason:
                rejected[index - 1] = reason
            else:
                branches.append(_Branch(index - 1, len(ids), written, piece))
        ids += piece
    # A document that is too long ends where its last branch that fits does.
    end = max((branch.start + len(branch.following) for branch in branches), default=0)
    return _Laid(document, ids[:end], branches, rejected)


def _unfit(
    before: str, rationale: str, behind: Sequence[int], length: int, room: int | None
) -> str:
    """Why a rationale cannot be judged; ``""`` if it can."""
    if not rationale.strip():
        return "the rationale is empty"
    if not before:
        return "nothing stands before it"
    if not behind:
        return "nothing stands behind it"
    if room is not None and length > room:
        return f"{length} tokens with it, and the model reads {room}"
    return ""


def _deltas(
    model: PreTrainedModel,
    laid: Sequence[_Laid],
    discount: float,
    threshold: Tensor,
    forked: bool,
) -> LossDelta:
    """The deltas of all branches of some documents, one segment each."""
    laid = [each for each in laid if each.branches]
    if forked:
        states = _read_forked(model, laid)
        shifts = [_shifts(each) for each in laid]
        told = [
            states[k, shift + len(branch.rationale) - 1 :][: len(branch.following)]
            for k, each in enumerate(laid)
            for shift, branch in zip(shifts[k], each.branches, strict=True)
        ]
    else:
        rows = [
            [*each.ids[: branch.start], *branch.rationale, *branch.following]
            for each in laid
            for branch in each.branches
        ]
        branches = [branch for each in laid for branch in each.branches]
        apart = _read(model, rows)
        told = [
            apart[k, branch.start + len(branch.rationale) - 1 :][: len(branch.following)]
            for k, branch in enumerate(branches)
        ]
        states = _read(model, [each.ids for each in laid])
    untold = [
        states[k, branch.start - 1 :][: len(branch.following)]
        for k, each in enumerate(laid)
        for branch in each.branches
    ]
    ids = [token for each in laid for branch in each.branches for token in branch.following]
    lengths = [len(branch.following) for each in laid for branch in each.branches]
    output = lm_head_of(model)
    device = output.weight.device
    return loss_delta(
        output.scaled(torch.cat(told)),
        output.scaled(torch.cat(untold)),
        output.weight,
        torch.tensor(ids, device=device),
        torch.tensor([0, *lengths], device=device).cumsum(0),
        discount=discount,
        threshold=threshold.to(device),
        bias=output.bias,
        softcap=output.softcap,
    )


def _shifts(laid: _Laid) -> list[int]:
    """Where each branch begins in a row that holds the bare document and then every branch."""
    shifts = [len(laid.ids)]
    for branch in laid.branches:
        shifts.append(shifts[-1] + len(branch.rationale) + len(branch.following))
    return shifts[:-1]


@torch.inference_mode()
def _read_forked(model: PreTrainedModel, laid: Sequence[_Laid]) -> Tensor:
    """Last hidden states (b, t, h) of documents, each with its branches behind it in one row."""
    rows, width = [], 0
    for each in laid:
        row = [*each.ids]
        for branch in each.branches:
            row += [*branch.rationale, *branch.following]
        rows.append(row)
        width = max(width, len(row))
    device = input_device(model)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    positions = torch.zeros(len(rows), width, dtype=torch.long)
    # Padding sees itself, for a row that sees nothing would be NaN.
    sees = torch.eye(width, dtype=torch.bool).repeat(len(rows), 1, 1)
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    for k, each in enumerate(laid):
        ids[k, : len(rows[k])] = torch.tensor(rows[k])
        length = len(each.ids)
        positions[k, :length] = torch.arange(length)
        sees[k, :length, :length] = causal[:length, :length]
        for shift, branch in zip(_shifts(each), each.branches, strict=True):
            own = slice(shift, shift + len(branch.rationale) + len(branch.following))
            size = own.stop - own.start
            positions[k, own] = branch.start + torch.arange(size)
            sees[k, own, : branch.start] = True
            sees[k, own, own] = causal[:size, :size]
    mask = torch.zeros(sees.shape, dtype=model.dtype)
    mask.masked_fill_(~sees, torch.finfo(model.dtype).min)
    body: Any = model.base_model
    return body(
        input_ids=ids.to(device),
        attention_mask=mask.unsqueeze(1).to(device),
        position_ids=positions.to(device),
        use_cache=False,
    ).last_hidden_state


@torch.inference_mode()
def _read(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Last hidden states (b, t, h) of rows of ids, padded behind, where nothing sees it."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for k, row in enumerate(rows):
        ids[k, : len(row)], mask[k, : len(row)] = torch.tensor(row), 1
    device = input_device(model)
    body: Any = model.base_model
    return body(
        input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
    ).last_hidden_state


def _room(model: PreTrainedModel) -> int | None:
    """How many positions the model has."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def _threshold(source: str, threshold: float | Mapping[str, float]) -> float:
    if not isinstance(threshold, Mapping):
        return threshold
    least = threshold.get(source, threshold.get(""))
    if least is None:
        raise KeyError(
            f"got a document of {source!r} and thresholds of {', '.join(map(repr, threshold))}; "
            "give one for it, or a single number for all"
        )
    return least
