"""Training of rationale models: the text so far -> the rationale of what comes next."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import set_seed

from reason_decode.scorers.rationale import CONFIG_KEY, RationaleScorer
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.training.config import LossOn, RationalystConfig
from reason_decode.training.examples import Example
from reason_decode.training.lora import load_base, with_lora
from reason_decode.training.losses import class_loss
from reason_decode.training.rationale_rows import RationaleRow
from reason_decode.training.trainer import train

__all__ = ["rationale_examples", "train_rationalyst"]

_MAX_CUTS = 8


def train_rationalyst(
    model: str | Path,
    tokenizer: Tokenizer,
    records: Sequence[RationaleRow],
    output: str | Path,
    config: RationalystConfig | None = None,
    *,
    held_out: Sequence[RationaleRow] = (),
) -> dict[str, Any]:
    r"""Train a rationale model; ``RationaleScorer.from_pretrained(output)`` loads it.

    Minimizes the mean of ``-log p(token | text before it)`` over the tokens of each rationale and
    its end, encoded as ``RationaleScorer`` asks for a rationale. Our extension, ``loss_on``, also
    (or only) learns the following text given the rationale, encoded as ``RationaleScorer`` scores a
    step, and for comparison the same without the rationale. A model that never read rationales,
    such as a small one trained from scratch, does not find a step more likely because of one.

    Args:
        model: the model to start from, a folder or a Hub id.
        tokenizer: the tokenizer of ``model``.
        records: rationales with the text around them.
        output: folder of the model or adapter, with checkpoints, log and loss plot.
        config: the settings; the defaults of ``RationalystConfig`` if left out. Examples longer
            than ``max_length`` lose text before the rationale, from the left.
        held_out: records whose loss is measured after every epoch.

    Returns:
        Counts and losses, see ``trainer.train``; and ``cut``, the examples that lost text.

    Raises:
        ModuleNotFoundError: accelerate is not installed; or peft, for LoRA.
        ValueError: no example, or a tokenizer that does not map its tokens to characters.

    Source: Jiang et al. 2024, 2410.01044, section 3.2; ``train.py`` of JHU-CLSP/RATIONALYST at
    be0b1cf, which applies the chat template twice and cuts rationales off after long texts.
    """
    config = config or RationalystConfig()
    set_seed(config.seed)
    base = load_base(model)
    # load_scorer tells a rationale model from other language models by this key.
    base.config.update({CONFIG_KEY: True})
    writer = RationaleWriter(base, tokenizer, separator=config.separator, chat=config.chat)
    encode = partial(
        rationale_examples,
        scorer=RationaleScorer(writer, chat=config.chat),
        loss_on=config.loss_on,
        share_without_rationale=config.share_without_rationale,
        max_length=config.max_length,
    )
    examples, cut = encode(records)
    measured, _ = encode(held_out)
    learner: Any = base.train()
    if config.lora_rank is not None:
        learner = with_lora(
            base,
            config.lora_rank,
            alpha=config.lora_alpha,
            target_modules=config.target_modules,
            task_type="CAUSAL_LM",
        )
    result = train(
        learner,
        tokenizer,
        examples,
        output,
        config,
        loss=class_loss,
        held_out=measured,
        merge_lora=config.merge_lora,
    )
    return {**result, "cut": cut}


def rationale_examples(
    records: Iterable[RationaleRow],
    scorer: RationaleScorer,
    *,
    loss_on: LossOn = "rationale",
    share_without_rationale: float = 0.0,
    max_length: int | None = None,
) -> tuple[list[Example], int]:
    """Encode records by the object that will write and score with them.

    Args:
        records: rationales with the text around them.
        scorer: the scorer that will write rationales and score steps.
        loss_on: text that is learned; see ``RationalystConfig``.
        share_without_rationale: share of the records whose following text is learned without the
            rationale, too, in [0, 1].
        max_length: maximum number of tokens; longer examples lose text before the rationale, from
            the left.

    Returns:
        The examples, up to three per record, and the number of examples that lost text.

    Raises:
        ValueError: a share out of range.

    Examples:
        >>> from reason_decode import RationaleScorer, tiny
        >>> scorer = RationaleScorer.from_pretrained(tiny.WEIGHTS / "base", chat=False)
        >>> record = RationaleRow("1", "sums", "1 + 2 =", "Add.", "1 + 2 = 3")
        >>> (example,), cut = rationale_examples([record], scorer)
        >>> scorer.tokenizer.decode(example.labels), cut
        ('Add.<EOT>', 0)
    """
    share = share_without_rationale
    if not 0 <= share <= 1:
        raise ValueError(f"got share_without_rationale={share}; it must be from 0 to 1")
    examples: list[Example] = []
    cut = 0
    for k, record in enumerate(records):
        # Spread evenly over the records: every fourth one for a share of 0.25.
        without = int((k + 1) * share) > int(k * share)
        encoded = _examples(record, scorer, loss_on, without)
        if max_length is not None and any(len(x.ids) > max_length for x in encoded):
            shorter = _shorten(record, scorer, loss_on, max_length)
            if shorter is not None:
                encoded = _examples(shorter, scorer, loss_on, without)
                cut += len(encoded)
        examples += encoded
    return examples, cut


def _examples(
    record: RationaleRow, scorer: RationaleScorer, loss_on: LossOn, without: bool = False
) -> list[Example]:
    """The examples of a record; ``without`` adds the following text without the rationale."""
    rationale = [_rationale_example(record, scorer)] if loss_on != "following" else []
    if loss_on == "rationale":
        return rationale
    following = _following_example(record, scorer, record.rationale)
    if following is None:
        return rationale
    bare = _following_example(record, scorer, None) if without else None
    return [*_join([*rationale, following]), *([] if bare is None else [bare])]


def _rationale_example(record: RationaleRow, scorer: RationaleScorer) -> Example:
    """The text as the writer asks for a rationale after it, then the rationale and its end."""
    writer = scorer.writer
    before = writer.encode(record.preceding, ()).ids
    rationale = record.rationale.strip()
    text = rationale + (_turn_end(record, scorer) if writer.chat else writer.tags.closing)
    ids = list(writer.tokenizer(text, add_special_tokens=False)["input_ids"])
    positions = range(len(before) - 1, len(before) + len(ids) - 1)
    return Example([*before, *ids], [*positions], ids)


def _turn_end(record: RationaleRow, scorer: RationaleScorer) -> str:
    """The text that the chat template puts after an answer, at which generation ends."""
    eos = scorer.writer.tokenizer.eos_token
    if not isinstance(eos, str):
        raise ValueError("got a tokenizer without an end of sequence; set tokenizer.eos_token")
    user = {"role": "user", "content": record.preceding}
    answer = {"role": "assistant", "content": record.rationale.strip()}
    render = scorer.writer.cached_tokenizer.render_chat
    opening = render([user], generate=True) + answer["content"]
    whole = render([user, answer], generate=False)
    end = whole.removeprefix(opening).rstrip() if whole.startswith(opening) else ""
    return end or eos


def _following_example(
    record: RationaleRow, scorer: RationaleScorer, rationale: str | None
) -> Example | None:
    """The text, the rationale if there is one, and the following text, as a step is scored."""
    step = record.following.removesuffix(scorer.separator)
    if not step.strip():
        return None
    encoded = scorer.encode(record.preceding, [step], rationale and rationale.strip())
    (span,) = encoded.spans
    return Example(encoded.ids, [*span], [encoded.ids[position + 1] for position in span])


def _join(examples: Sequence[Example]) -> list[Example]:
    """Two examples as one if the second continues the first, as it does in plain text."""
    if len(examples) < 2:
        return list(examples)
    first, second = examples
    continues = second.ids[: len(first.ids)] == first.ids
    if not continues or second.positions[0] <= first.positions[-1]:
        return [first, second]
    positions, labels = first.positions + second.positions, first.labels + second.labels
    return [Example(second.ids, positions, labels)]


def _shorten(
    record: RationaleRow, scorer: RationaleScorer, loss_on: LossOn, max_length: int
) -> RationaleRow | None:
    """The record without the beginning of its text, so that its examples fit; ``None`` if none do.

    A cut text may be tokenized into a few tokens more than it had, so it is measured again.
    """
    for _ in range(_MAX_CUTS):
        excess = max(len(x.ids) for x in _examples(record, scorer, loss_on)) - max_length
        if excess <= 0:
            return record
        encoded = scorer.tokenizer(
            record.preceding, add_special_tokens=False, return_offsets_mapping=True
        )
        starts = [start for start, _ in encoded["offset_mapping"]]
        if excess >= len(starts):
            return None
        record = replace(record, preceding=record.preceding[starts[excess] :])
    return None
