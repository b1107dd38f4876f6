"""Training rationale models: the text so far -> the rationale of what comes next."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import set_seed

from reason_decode.scorers.rationale import CONFIG_KEY, RationaleScorer
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.training.examples import Example
from reason_decode.training.lora import load_base, with_lora
from reason_decode.training.losses import class_loss
from reason_decode.training.rationale_rows import RationaleRow
from reason_decode.training.trainer import TrainingConfig, fit

__all__ = ["Learn", "rationale_examples", "train_rationalyst"]

Learn = Literal["rationale", "following", "both"]
_ENOUGH_CUTS = 8


def train_rationalyst(
    source: str | Path,
    tokenizer: Tokenizer,
    records: Sequence[RationaleRow],
    out: str | Path,
    *,
    learn: Learn = "rationale",
    bare: float = 0.25,
    separator: str = "\n",
    chat: bool | None = None,
    lora: int | None = None,
    fold: bool = True,
    recipe: TrainingConfig | None = None,
    held_out: Sequence[RationaleRow] = (),
) -> dict[str, Any]:
    r"""Train a rationale model; ``RationaleScorer.from_pretrained(out)`` then loads it.

    Minimises ``-log p(rationale, its end | text before it)``, the mean over those tokens, laid out
    as ``RationaleScorer`` asks for a rationale. Our extension: ``learn`` has it learn also (or
    only) what follows, given the text before and the rationale, laid out as ``RationaleScorer``
    judges a step; and, for what it is compared with, the same without the rationale. A model that
    has never read rationales, as a small one trained from scratch, finds nothing likelier by them.

    Args:
        source: the model to begin with, a folder or a Hub id.
        tokenizer: its own.
        records: rationales with the text around them.
        out: a folder; checkpoints, the log and its plot go there too.
        learn: "rationale", "following" or "both".
        bare: of which share of the records what follows is learnt without the rationale, too.
        separator: what ends a step; ``following`` is read as one, which this ends.
        chat: whether the text is a user's turn of the chat template, which is applied once;
            ``None``: if there is one.
        lora: rank of LoRA matrices; ``None`` trains every weight.
        fold: whether the matrices are added to the weights at the end; else the folder holds the
            adapter alone, which names the model that it belongs to.
        recipe: how long and how fast. Of examples that exceed its ``max_tokens`` the text before
            the rationale is cut from the left.
        held_out: measured after every epoch.

    Returns:
        Counts and losses, see ``fit``; and ``cut``, how many examples lost some of the text.

    Raises:
        ValueError: ``learn`` is none of these, there is nothing to learn, an adapter without LoRA,
            or a tokenizer that does not say where its tokens stand.

    Source: Jiang et al. 2024, 2410.01044, section 3.2; ``train.py`` of JHU-CLSP/RATIONALYST at
    be0b1cf, which applies the template twice and cuts rationales off behind long texts.
    """
    if learn not in get_args(Learn):
        raise ValueError(f"got learn={learn!r}; allowed are {', '.join(get_args(Learn))}")
    if not fold and lora is None:
        raise ValueError("got fold=False without LoRA matrices; pass lora=RANK too")
    recipe = recipe or TrainingConfig()
    set_seed(recipe.seed)
    model = load_base(source)
    # By this load_scorer tells a rationale model from other language models.
    model.config.update({CONFIG_KEY: True})
    writer = RationaleWriter(model, tokenizer, separator=separator, chat=chat)
    scorer = RationaleScorer(writer, chat=chat)
    how: dict[str, Any] = {"learn": learn, "bare": bare, "max_tokens": recipe.max_tokens}
    examples, cut = rationale_examples(records, scorer, **how)
    measured, _ = rationale_examples(held_out, scorer, **how)
    learner: Any = model.train()
    if lora is not None:
        learner = with_lora(model, lora)
    told = fit(
        learner,
        tokenizer,
        examples,
        out,
        loss=class_loss,
        recipe=recipe,
        held_out=measured,
        fold=fold,
    )
    return {**told, "cut": cut}


def rationale_examples(
    records: Iterable[RationaleRow],
    scorer: RationaleScorer,
    *,
    learn: Learn = "rationale",
    bare: float = 0.0,
    max_tokens: int | None = None,
) -> tuple[list[Example], int]:
    """Records as token ids, laid out by the very object that will write and score with them.

    Args:
        records: rationales with the text around them.
        scorer: writes rationales and judges steps.
        learn: what is learnt of each.
        bare: of which share of them what follows is learnt without the rationale, too; in [0, 1].
        max_tokens: of an example; longer ones lose text before the rationale, from the left.

    Returns:
        The examples, up to three a record, and how many of them were cut.

    Raises:
        ValueError: a share out of range.

    Example:
        >>> from reason_decode import RationaleScorer, tiny
        >>> scorer = RationaleScorer.from_pretrained(tiny.WEIGHTS / "base", chat=False)
        >>> record = RationaleRow("1", "sums", "1 + 2 =", "Add.", "1 + 2 = 3")
        >>> (example,), cut = rationale_examples([record], scorer)
        >>> scorer.tokenizer.decode(example.classes), cut
        ('Add.<EOT>', 0)
    """
    if not 0 <= bare <= 1:
        raise ValueError(f"got bare={bare}; need a share of the records, from 0 to 1")
    examples: list[Example] = []
    cut = 0
    for k, record in enumerate(records):
        # The k-th record's turn, so that shares of shares are as even.
        without = int((k + 1) * bare) > int(k * bare)
        made = _examples(record, scorer, learn, without)
        if max_tokens is not None and any(len(x.ids) > max_tokens for x in made):
            shorter = _shortened(record, scorer, learn, max_tokens)
            if shorter is not None:
                made = _examples(shorter, scorer, learn, without)
                cut += len(made)
        examples += made
    return examples, cut


def _examples(
    record: RationaleRow, scorer: RationaleScorer, learn: Learn, without: bool = False
) -> list[Example]:
    told = [_rationale(record, scorer)] if learn != "following" else []
    behind = _following(record, scorer, record.rationale) if learn != "rationale" else None
    if behind is None:
        return told
    bare = _following(record, scorer, None) if without else None
    return [*_joined([*told, behind]), *([] if bare is None else [bare])]


def _rationale(record: RationaleRow, scorer: RationaleScorer) -> Example:
    """The text as the writer asks for a rationale behind it, and that rationale up to its end."""
    writer = scorer.writer
    before = writer.encode(record.preceding, ()).ids
    rationale = record.rationale.strip()
    text = rationale + (_turn_end(record, scorer) if writer.chat else writer.tags.closing)
    ids = list(writer.tokenizer(text, add_special_tokens=False)["input_ids"])
    places = range(len(before) - 1, len(before) + len(ids) - 1)
    return Example([*before, *ids], [*places], ids)


def _turn_end(record: RationaleRow, scorer: RationaleScorer) -> str:
    """What the chat template puts behind an answer, up to where generation ends."""
    eos = scorer.writer.tokenizer.eos_token
    if not isinstance(eos, str):
        raise ValueError("got a tokenizer without an end of sequence; set tokenizer.eos_token")
    asked = {"role": "user", "content": record.preceding}
    answer = {"role": "assistant", "content": record.rationale.strip()}
    opening = scorer.writer.cached_tokenizer.render_chat([asked], generate=True) + answer["content"]
    whole = scorer.writer.cached_tokenizer.render_chat([asked, answer], generate=False)
    end = whole.removeprefix(opening).rstrip() if whole.startswith(opening) else ""
    return end or eos


def _following(
    record: RationaleRow, scorer: RationaleScorer, rationale: str | None
) -> Example | None:
    """The text, the rationale if there is one, and what follows, as a step is judged."""
    step = record.following.removesuffix(scorer.splitter.separator)
    if not step.strip():
        return None
    layout = scorer.encode(record.preceding, [step], rationale and rationale.strip())
    (span,) = layout.spans
    return Example(layout.ids, [*span], [layout.ids[place + 1] for place in span])


def _joined(examples: Sequence[Example]) -> list[Example]:
    """One example of two if the second goes on where the first ends, as plain text does."""
    if len(examples) < 2:
        return list(examples)
    first, second = examples
    if second.ids[: len(first.ids)] != first.ids or second.places[0] <= first.places[-1]:
        return [first, second]
    return [
        Example(second.ids, first.places + second.places, first.classes + second.classes),
    ]


def _shortened(
    record: RationaleRow, scorer: RationaleScorer, learn: Learn, max_tokens: int
) -> RationaleRow | None:
    """The record with as much of its text as fits; ``None`` if even without it does not fit."""
    for _ in range(_ENOUGH_CUTS):
        excess = max(len(x.ids) for x in _examples(record, scorer, learn)) - max_tokens
        if excess <= 0:
            return record
        read = scorer.tokenizer(
            record.preceding, add_special_tokens=False, return_offsets_mapping=True
        )
        starts = [start for start, _ in read["offset_mapping"]]
        if excess >= len(starts):
            return None
        # Cut text may be tokenised anew into a few tokens more, so it is looked at again.
        record = replace(record, preceding=record.preceding[starts[excess] :])
    return None
