"""What a scorer thinks of a step's beginnings weighs its first tokens."""

import math

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from reason_decode.models.tokenization import decode
from reason_decode.processors.progress import Place, Progress
from reason_decode.processors.shadow import pad_id, unpadded
from reason_decode.scorers.base import Scorer


class StepRewardLogitsProcessor(LogitsProcessor):
    r"""Adds to the likeliest tokens what a scorer gives the step that begins with each.

    ``score + weight * scorer(prompt, steps before, step so far with the token)`` for the
    ``candidates`` likeliest tokens of each row, where a step begins and every ``every`` tokens from
    there on; all other tokens get what the least of these gets. In between nothing is changed.

    The scorer reads the whole trajectory wherever it is asked: with a reward model, ``StepSearch``
    is what reads each token once. One object serves one generation at a time, any number in turn.

    Args:
        scorer: judges steps, also unfinished ones; its splitter says where a step ends.
        tokenizer: the generator's.
        weight: how strongly to weigh, in nats a unit of reward; 0 changes nothing.
        candidates: tokens a row that are scored.
        every: ask again after so many tokens of a step; ``None``: only at its first.
        pad_token_id: pads rows on the left; ``None``: the tokenizer's.

    Raises:
        ValueError: an argument out of range.

    Source: Khanov et al. 2024, 2402.01694, equation 2, there at every token.

    Example:
        >>> from reason_decode import StepRewardLogitsProcessor, tiny
        >>> t = tiny.load()
        >>> reward = StepRewardLogitsProcessor(t.prm, t.tokenizer, weight=4.0)
        >>> inputs = t.tokenizer(["Make 36 from 4 5 6 10.\n"], return_tensors="pt")
        >>> out = t.model.generate(**inputs, max_new_tokens=20, logits_processor=[reward])
        >>> out.shape[1] > inputs["input_ids"].shape[1]
        True
    """

    def __init__(
        self,
        scorer: Scorer,
        tokenizer: PreTrainedTokenizerBase,
        *,
        weight: float = 1.0,
        candidates: int = 8,
        every: int | None = None,
        pad_token_id: int | None = None,
    ) -> None:
        if not math.isfinite(weight):
            raise ValueError(f"got weight={weight}; need a finite number")
        if candidates < 1 or (every is not None and every < 1):
            raise ValueError(f"got candidates={candidates}, every={every}; need 1 or more")
        self.scorer, self.tokenizer = scorer, tokenizer
        self.weight, self.candidates, self.every = weight, candidates, every
        self.pad = pad_id(tokenizer, pad_token_id)
        self._progress = Progress(tokenizer, scorer.splitter)

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The weighed scores.

        Args:
            input_ids: (r, t) int64, padded on the left.
            scores: (r, v), the generator's logits or log-probabilities.

        Returns:
            (r, v) float32.
        """
        rows = unpadded(input_ids, self.pad)
        places = self._progress.places([row.tolist() for row in rows])
        weighed = scores.float()
        asked = [k for k, row in enumerate(rows) if self._is_due(len(row), places[k])]
        if not asked:
            return weighed
        top = weighed[asked].topk(min(self.candidates, scores.shape[-1]), dim=-1).indices
        rewards = self._rewards([rows[k] for k in asked], [places[k] for k in asked], top)
        added = rewards.min(dim=-1, keepdim=True).values.repeat(1, scores.shape[-1])
        added = added.scatter(-1, top, rewards)
        weighed = weighed.clone()
        weighed[asked] += self.weight * added
        return weighed

    def _is_due(self, length: int, place: Place) -> bool:
        done = length - place.step
        return done == 0 or (self.every is not None and done % self.every == 0)

    def _rewards(self, rows: list[Tensor], places: list[Place], top: Tensor) -> Tensor:
        """What the scorer gives each candidate, (r, candidates) float32."""
        prompts: list[str] = []
        solutions: list[str] = []
        for row, place, tokens in zip(rows, places, top, strict=True):
            new = row[place.prompt :]
            prompt = decode(self.tokenizer, row[: place.prompt])
            texts = [decode(self.tokenizer, torch.cat([new, token[None]])) for token in tokens]
            prompts += [prompt] * len(texts)
            solutions += texts
        found = self.scorer.score(prompts, solutions)
        # A token without text, such as the end, leaves nothing new to judge.
        last = [float(x[-1]) if len(x) else 0.0 for x in found]
        return torch.tensor(last, device=top.device).view(top.shape)
