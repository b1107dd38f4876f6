"""Rationale guidance token by token: tokens that a rationale makes likelier are favoured."""

import math

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.processors.side_model import CachedSideModel, pad_id, unpadded
from reason_decode.processors.step_tracker import StepTracker
from reason_decode.scorers.causal import PrefixReader
from reason_decode.scorers.rationale_writer import RationaleWriter


class RationaleGuidanceLogitsProcessor(LogitsProcessor):
    r"""Adds to each token's score the log-probability that a rationale adds to the token.

    ``score + weight * (log p(token | context, rationale) - log p(token | context))``. When a step
    begins, a rationale is written for the text so far. It is put at the end of that text, between
    its tags, until the step ends; the next step gets a rationale of its own.

    One object serves one generation at a time, and any number of generations in turn.

    Args:
        writer: writes the rationales; its splitter determines where a step ends.
        model: gives both log-probabilities: the generator, or another model with its vocabulary.
        tokenizer: the tokenizer of ``model``, by whose ids the generator must write, too.
        weight: strength of the guidance; 0 changes nothing.
        pad_token_id: id of the padding on the left; ``None``: that of the tokenizer.

    Raises:
        ValueError: the weight is not finite, the model's cache cannot be branched, or the model is
            the writer's and the tokenizer lacks its tags.

    Source: the token-level form of Jiang et al. 2024, 2410.01044, section 3.3; the difference of
    log-probabilities as in context-aware decoding, Shi et al. 2023, 2305.14739, equation 2.

    Examples:
        >>> from reason_decode import RationaleGuidanceLogitsProcessor, tiny
        >>> from reason_decode.scorers import RationaleWriter
        >>> t = tiny.load()
        >>> writer = RationaleWriter(t.model, t.tokenizer, max_new_tokens=8)
        >>> guidance = RationaleGuidanceLogitsProcessor(writer, t.model, t.tokenizer, weight=0.5)
        >>> inputs = t.tokenizer(["1 + 2 =\n"], return_tensors="pt")
        >>> out = t.model.generate(**inputs, max_new_tokens=20, logits_processor=[guidance])
        >>> out.shape[1] > inputs["input_ids"].shape[1]
        True
    """

    def __init__(
        self,
        writer: RationaleWriter,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        weight: float = 1.0,
        pad_token_id: int | None = None,
    ) -> None:
        if not math.isfinite(weight):
            raise ValueError(f"got weight={weight}; need a finite number")
        if model is writer.model:
            _check_tags(writer, tokenizer)
        self.writer, self.tokenizer, self.weight = writer, tokenizer, weight
        name = type(self).__name__
        self.with_rationale = CachedSideModel(model, name)
        self.without_rationale = CachedSideModel(model, name)
        self.pad = pad_id(tokenizer, pad_token_id)
        self._tracker = StepTracker(tokenizer, writer.splitter)
        self._rationales: dict[tuple[int, ...], str] = {}

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The guided scores.

        Args:
            input_ids: (r, t) int64, padded on the left.
            scores: (r, v), the generator's logits or log-probabilities.

        Returns:
            (r, v) float32.
        """
        rows = unpadded(input_ids, self.pad)
        starts = [x.step_start for x in self._tracker.track([row.tolist() for row in rows])]
        contexts = [tuple(row[:k].tolist()) for row, k in zip(rows, starts, strict=True)]
        self._write_missing(contexts)
        extended = [
            torch.cat([row[:k], self._ids(self._rationales[context], row), row[k:]])
            for row, k, context in zip(rows, starts, contexts, strict=True)
        ]
        logp_with = self.with_rationale.logits(extended).log_softmax(dim=-1)
        logp_without = self.without_rationale.logits(rows).log_softmax(dim=-1)
        return scores.float() + self.weight * (logp_with - logp_without)

    def _write_missing(self, contexts: list[tuple[int, ...]]) -> None:
        """Write the rationales that are missing; forget those of rows that are gone."""
        new = [ids for ids in dict.fromkeys(contexts) if ids not in self._rationales]
        if not new:
            return
        texts = self.tokenizer.batch_decode([list(ids) for ids in new], skip_special_tokens=True)
        written, _ = self.writer.write(PrefixReader(self.writer).read_prompts(texts))
        known = {ids: self._rationales[ids] for ids in contexts if ids in self._rationales}
        self._rationales = known | dict(zip(new, written, strict=True))

    def _ids(self, rationale: str, like: Tensor) -> Tensor:
        """Ids of a rationale between its tags, on the device of ``like``; none for no rationale."""
        text = self.writer.tags.around(rationale) if rationale else ""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor(ids, dtype=like.dtype, device=like.device)


def _check_tags(writer: RationaleWriter, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise unless a tokenizer writes the tags as the writer's own does.

    Raises:
        ValueError: it does not: the model would read letters where it learned a token.
    """
    for tag in writer.tags:
        own, given = (
            list(x(tag, add_special_tokens=False)["input_ids"])
            for x in (writer.tokenizer, tokenizer)
        )
        if own != given:
            raise ValueError(
                f"got a tokenizer that writes {tag!r} as the ids {given}, where the rationale "
                f"model's own writes {own}; pass writer.tokenizer, the tokenizer of the model"
            )
