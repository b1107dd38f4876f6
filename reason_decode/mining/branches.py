"""Documents as token ids with a branch per rationale, and the loss deltas of all branches.

A branch is a rationale and the piece of text after it. It continues the document, without its
rationales, from the place of the rationale; the piece is also part of the document itself, so its
loss is measured twice: with the rationale in the branch, without it in the document.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.tags import Tags
from reason_decode.kernels import LossDelta, loss_delta, token_logprobs
from reason_decode.mining.documents import AnnotatedDocument
from reason_decode.models.inputs import input_device, pad_rows
from reason_decode.models.lm_head import LMHead, NextTokenLogits

__all__ = ["Branch", "BranchedDocument", "encode_branches", "loss_deltas"]


@dataclass(frozen=True, slots=True)
class Branch:
    """A rationale and the piece of text after it, as token ids.

    Attributes:
        index: index of the rationale in its document.
        start: number of document ids before the rationale.
        rationale: ids of the rationale with its tags.
        following: ids of the piece, which are also ``ids[start : start + len(following)]`` of the
            document.
    """

    index: int
    start: int
    rationale: list[int]
    following: list[int]


class BranchedDocument(NamedTuple):
    """A document as token ids without rationales, and a branch per rationale.

    Attributes:
        document: the document.
        ids: its ids without rationales, up to the end of the last branch.
        branches: the rationales whose loss delta can be measured, in order.
        rejected: index of every other rationale -> why it has no loss delta.
    """

    document: AnnotatedDocument
    ids: list[int]
    branches: list[Branch]
    rejected: dict[int, str]


def encode_branches(
    document: AnnotatedDocument,
    tokenizer: PreTrainedTokenizerBase,
    tags: Tags,
    max_tokens: int | None,
) -> BranchedDocument:
    """Tokenize a document and its branches, piece by piece, so that both contexts share their ids.

    Args:
        document: the annotated document.
        tokenizer: the tokenizer of the loss model.
        tags: the tags put around a rationale.
        max_tokens: longest sequence that the loss model reads; ``None`` for no limit.
    """
    ids = list(tokenizer("")["input_ids"])
    branches, rejected = [], {}
    for index, text in enumerate(document.texts):
        following = tokenizer(text, add_special_tokens=False)["input_ids"]
        if index:
            text = tags.around(document.rationales[index - 1])
            rationale = tokenizer(text, add_special_tokens=False)["input_ids"]
            length = len(ids) + len(rationale) + len(following)
            reason = _why_unscored(document, index - 1, following)
            if not reason and max_tokens is not None and length > max_tokens:
                reason = f"{length} tokens with it, and the model reads {max_tokens}"
            if reason:
                rejected[index - 1] = reason
            else:
                branches.append(Branch(index - 1, len(ids), rationale, following))
        ids += following
    end = max((branch.start + len(branch.following) for branch in branches), default=0)
    return BranchedDocument(document, ids[:end], branches, rejected)


def _why_unscored(document: AnnotatedDocument, index: int, following: Sequence[int]) -> str:
    """Why a rationale has no loss delta; ``""`` if it has one."""
    if not document.rationales[index].strip():
        return "the rationale is empty"
    if not document.preceding(index):
        return "no text before the rationale"
    if not following:
        return "no text after the rationale"
    return ""


def loss_deltas(
    next_token: NextTokenLogits,
    documents: Sequence[BranchedDocument],
    discount: float,
    thresholds: Tensor,
    packed: bool,
) -> LossDelta:
    """The loss deltas of all branches of some documents, in order; see ``kernels.loss_delta``.

    Args:
        next_token: the loss model.
        documents: documents, at least one of them with a branch.
        discount: weight of each token relative to the token before it.
        thresholds: (number of branches,) float32, nats.
        packed: read each document with all its branches in one row, for models that take any 4D
            attention mask; else each branch in a row of its own.
    """
    documents = [each for each in documents if each.branches]
    if next_token.head is None:
        return _deltas_of_logits(next_token, documents, discount, thresholds)
    return _deltas_of_states(
        next_token.model, next_token.head, documents, discount, thresholds, packed
    )


def _deltas_of_states(
    model: PreTrainedModel,
    head: LMHead,
    documents: Sequence[BranchedDocument],
    discount: float,
    thresholds: Tensor,
    packed: bool,
) -> LossDelta:
    """The loss deltas, from hidden states and the output matrix."""
    branches = [(k, branch) for k, each in enumerate(documents) for branch in each.branches]
    if packed:
        states = branch_states = _hidden_packed(model, documents)
        rows = [k for k, _ in branches]
        starts = [start for each in documents for start in _packed_starts(each)]
    else:
        states = _hidden(model, [each.ids for each in documents])
        rows = list(range(len(branches)))
        starts = [branch.start for _, branch in branches]
        contexts = [documents[k].ids[: branch.start] + branch.rationale for k, branch in branches]
        branch_states = _hidden(
            model,
            [ids + branch.following for ids, (_, branch) in zip(contexts, branches, strict=True)],
        )
    # A token is predicted by the state before it: that of the rationale's, or the document's, last.
    with_rationale = [
        branch_states[row, start + len(branch.rationale) - 1 :][: len(branch.following)]
        for row, start, (_, branch) in zip(rows, starts, branches, strict=True)
    ]
    without_rationale = [
        states[k, branch.start - 1 :][: len(branch.following)] for k, branch in branches
    ]
    lengths = [len(branch.following) for _, branch in branches]
    ids = [token for _, branch in branches for token in branch.following]
    device = head.weight.device
    return loss_delta(
        head.scale_hidden(torch.cat(with_rationale)),
        head.scale_hidden(torch.cat(without_rationale)),
        head.weight,
        torch.tensor(ids, device=device),
        torch.tensor([0, *lengths], device=device).cumsum(0),
        discount=discount,
        threshold=thresholds.to(device),
        bias=head.bias,
        softcap=head.softcap,
    )


@torch.inference_mode()
def _deltas_of_logits(
    next_token: NextTokenLogits,
    documents: Sequence[BranchedDocument],
    discount: float,
    thresholds: Tensor,
) -> LossDelta:
    """The loss deltas, from the model's own logits: a row at a time, for they take much memory."""
    with_rationale: list[Tensor] = []
    without_rationale: list[Tensor] = []
    for each in documents:
        logps = _row_logps(next_token, each.ids)
        for branch in each.branches:
            count = len(branch.following)
            ids = each.ids[: branch.start] + branch.rationale + branch.following
            with_rationale.append(_row_logps(next_token, ids)[-count:])
            without_rationale.append(logps[branch.start - 1 :][:count])
    deltas = [a - b for a, b in zip(with_rationale, without_rationale, strict=True)]
    weights = [discount ** torch.arange(len(x), device=x.device) for x in deltas]
    sums = torch.stack([(w * x).sum() for w, x in zip(weights, deltas, strict=True)])
    return LossDelta(
        torch.cat(with_rationale),
        torch.cat(without_rationale),
        torch.cat(deltas),
        sums,
        sums / torch.stack([w.sum() for w in weights]),
        sums >= thresholds.to(sums.device),
    )


def _row_logps(next_token: NextTokenLogits, ids: Sequence[int]) -> Tensor:
    """Log-probability of each id but the first, (t - 1,)."""
    row = torch.tensor([ids], device=input_device(next_token.model))
    logits = next_token.features(input_ids=row, use_cache=False)[0, :-1]
    return token_logprobs(logits, row[0, 1:].to(logits.device))


def _packed_starts(document: BranchedDocument) -> list[int]:
    """The column at which each branch begins in the packed row of its document."""
    starts = [len(document.ids)]
    for branch in document.branches:
        starts.append(starts[-1] + len(branch.rationale) + len(branch.following))
    return starts[:-1]


@torch.inference_mode()
def _hidden_packed(model: PreTrainedModel, documents: Sequence[BranchedDocument]) -> Tensor:
    """Last hidden states (b, t, h) of documents, each in one row with all its branches.

    A row holds the document without rationales, then the branches one after the other. The tokens
    of a branch continue the document from ``start``: their positions count on from there, and they
    attend to the document up to there and to the earlier tokens of their own branch, but to no
    other branch. So one pass gives the states that a pass per rationale would give, and the
    document is read only once.
    """
    rows, positions = [], []
    for each in documents:
        rows.append([*each.ids])
        positions.append([*range(len(each.ids))])
        for branch in each.branches:
            tokens = [*branch.rationale, *branch.following]
            rows[-1] += tokens
            positions[-1] += range(branch.start, branch.start + len(tokens))
    ids, _ = pad_rows(rows, side="right")
    width = ids.shape[1]
    # Padding attends to itself: a softmax over no visible token at all would be NaN.
    visible = torch.eye(width, dtype=torch.bool).repeat(len(rows), 1, 1)
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    for k, each in enumerate(documents):
        length = len(each.ids)
        visible[k, :length, :length] = causal[:length, :length]
        for start, branch in zip(_packed_starts(each), each.branches, strict=True):
            size = len(branch.rationale) + len(branch.following)
            own = slice(start, start + size)
            visible[k, own, : branch.start] = True
            visible[k, own, own] = causal[:size, :size]
    mask = torch.zeros(visible.shape, dtype=model.dtype)
    mask.masked_fill_(~visible, torch.finfo(model.dtype).min)
    device = input_device(model)
    body: Any = model.base_model
    return body(
        input_ids=ids.to(device),
        attention_mask=mask.unsqueeze(1).to(device),
        position_ids=pad_rows(positions, side="right")[0].to(device),
        use_cache=False,
    ).last_hidden_state


@torch.inference_mode()
def _hidden(model: PreTrainedModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Last hidden states (b, t, h) of rows of ids, padded on the right."""
    ids, mask = pad_rows(rows, side="right")
    device = input_device(model)
    body: Any = model.base_model
    return body(
        input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False
    ).last_hidden_state
