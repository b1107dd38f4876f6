"""Rationales, token by token: what a rationale makes likelier is favoured."""

import math

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.processors.progress import Progress
from reason_decode.processors.shadow import CachedSideModel, pad_id, unpadded
from reason_decode.scorers.cached_session import CachedSession
from reason_decode.scorers.rationale_writer import RationaleWriter


class RationaleGuidanceLogitsProcessor(LogitsProcessor):
    r"""Adds to each token's score how much likelier a rationale makes it.

    ``score + weight * (log p(token | context, rationale) - log p(token | context))``. The rationale
    is written where a step begins, for all that stands before it, and stands between its tags right
    there while the step is sampled; the next step has one of its own.

    One object serves one generation at a time, and any number of them in turn.

    Args:
        writer: writes the rationales; its splitter says where a step ends.
        model: finds tokens likely: the generator, or another model with its vocabulary.
        tokenizer: the generator's.
        weight: how strongly to guide; 0 changes nothing.
        pad_token_id: pads rows on the left; ``None``: the tokenizer's.

    Raises:
        ValueError: a weight that is not finite, or a cache that cannot be branched.

    Source: the token-level form of Jiang et al. 2024, 2410.01044, section 3.3; the difference of
    log-probabilities as in context-aware decoding, Shi et al. 2023, 2305.14739, equation 2.

    Example:
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
        self.writer, self.tokenizer, self.weight = writer, tokenizer, weight
        name = type(self).__name__
        self.told, self.untold = CachedSideModel(model, name), CachedSideModel(model, name)
        self.pad = pad_id(tokenizer, pad_token_id)
        self._progress = Progress(tokenizer, writer.splitter)
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
        steps = [place.step for place in self._progress.places([row.tolist() for row in rows])]
        befores = [tuple(row[:k].tolist()) for row, k in zip(rows, steps, strict=True)]
        self._write(befores)
        told = [
            torch.cat([row[:k], self._ids(self._rationales[before], row), row[k:]])
            for row, k, before in zip(rows, steps, befores, strict=True)
        ]
        with_rationale = self.told.logits(told).log_softmax(dim=-1)
        without = self.untold.logits(rows).log_softmax(dim=-1)
        return scores.float() + self.weight * (with_rationale - without)

    def _write(self, befores: list[tuple[int, ...]]) -> None:
        """Have the rationales written that are still missing; forget those of other rows."""
        new = [ids for ids in dict.fromkeys(befores) if ids not in self._rationales]
        if not new:
            return
        texts = self.tokenizer.batch_decode([list(ids) for ids in new], skip_special_tokens=True)
        session = CachedSession(self.writer, texts)
        written, _ = self.writer.write(session.trajectories)
        known = {ids: self._rationales[ids] for ids in befores if ids in self._rationales}
        self._rationales = known | dict(zip(new, written, strict=True))

    def _ids(self, rationale: str, like: Tensor) -> Tensor:
        text = self.writer.tags.around(rationale) if rationale else ""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor(ids, dtype=like.dtype, device=like.device)
