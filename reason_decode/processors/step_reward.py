"""Reward guidance token by token: a scorer scores the step that each token would begin."""

import math

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from reason_decode.models.inputs import decode
from reason_decode.processors.side_model import pad_id, unpadded
from reason_decode.processors.step_tracker import StepPosition, StepTracker
from reason_decode.scorers.base import Scorer


class StepRewardLogitsProcessor(LogitsProcessor):
    r"""Adds to the likeliest tokens the scorer's reward for the step with each of them.

    ``score + weight * scorer(prompt, steps before, step so far + token)`` for the ``candidates``
    likeliest tokens of each row; every other token gets the least of these rewards. This is done at
    the first token of a step and, with ``interval``, again after every ``interval`` tokens of it.
    At all other tokens the scores are unchanged.

    Each time, the scorer reads the whole trajectory. ``StepSearch``, which also searches by a
    scorer, reads each token only once.

    One object serves one generation at a time, and any number of generations in turn.

    Args:
        scorer: scores steps, also unfinished ones; its splitter determines where a step ends.
        tokenizer: the generator's tokenizer.
        weight: strength of the guidance, in nats for a unit of reward; 0 changes nothing.
        candidates: number of tokens that are scored for each row.
        interval: number of tokens between two rewards in a step; ``None``: only at its first token.
        pad_token_id: id of the padding on the left; ``None``: that of the tokenizer.

    Raises:
        ValueError: an argument is out of range.

    Source: Khanov et al. 2024, 2402.01694, equation 2, which rewards every token.

    Examples:
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
        interval: int | None = None,
        pad_token_id: int | None = None,
    ) -> None:
        if not math.isfinite(weight):
            raise ValueError(f"got weight={weight}; need a finite number")
        if candidates < 1 or (interval is not None and interval < 1):
            raise ValueError(f"got candidates={candidates}, interval={interval}; need 1 or more")
        self.scorer, self.tokenizer = scorer, tokenizer
        self.weight, self.candidates, self.interval = weight, candidates, interval
        self.pad = pad_id(tokenizer, pad_token_id)
        self._tracker = StepTracker(tokenizer, scorer.splitter)

    @torch.no_grad()
    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores with the rewards added.

        Args:
            input_ids: (r, t) int64, padded on the left.
            scores: (r, v), the generator's logits or log-probabilities.

        Returns:
            (r, v) float32.
        """
        rows = unpadded(input_ids, self.pad)
        positions = self._tracker.track([row.tolist() for row in rows])
        guided = scores.float()
        due = [k for k, row in enumerate(rows) if self._is_due(len(row), positions[k])]
        if not due:
            return guided
        top = guided[due].topk(min(self.candidates, scores.shape[-1]), dim=-1).indices
        rewards = self._rewards([rows[k] for k in due], [positions[k] for k in due], top)
        added = rewards.min(dim=-1, keepdim=True).values.repeat(1, scores.shape[-1])
        added = added.scatter(-1, top, rewards)
        guided = guided.clone()  # scores.float() may be the caller's own tensor
        guided[due] += self.weight * added
        return guided

    def _is_due(self, length: int, position: StepPosition) -> bool:
        done = length - position.step_start
        return done == 0 or (self.interval is not None and done % self.interval == 0)

    def _rewards(self, rows: list[Tensor], positions: list[StepPosition], top: Tensor) -> Tensor:
        """The scorer's reward for each candidate token, (r, candidates) float32."""
        prompts: list[str] = []
        solutions: list[str] = []
        for row, position, tokens in zip(rows, positions, top, strict=True):
            new = row[position.prompt_end :]
            prompt = decode(self.tokenizer, row[: position.prompt_end])
            texts = [decode(self.tokenizer, torch.cat([new, token[None]])) for token in tokens]
            prompts += [prompt] * len(texts)
            solutions += texts
        found = self.scorer.score(prompts, solutions)
        # A token without text, such as the end of sequence, may leave a solution without steps.
        last = [float(x[-1]) if len(x) else 0.0 for x in found]
        return torch.tensor(last, device=top.device).view(top.shape)
