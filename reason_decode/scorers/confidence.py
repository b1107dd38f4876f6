"""Confidence: how certain the generator was of the tokens that it sampled."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from reason_decode.core.splitting import StepSplitter
from reason_decode.core.voting import VoteWeighting
from reason_decode.generation.token_stats import TokenStats
from reason_decode.scorers.base import Scorer, ScoreSpace, Session

__all__ = ["ConfidenceMeasure", "ConfidenceScorer"]

ConfidenceMeasure = Literal[
    "logprob", "perplexity", "entropy", "certainty", "mean", "group", "bottom", "tail"
]
"""Measures of confidence; ``ConfidenceScorer`` defines each."""

_SPACES: dict[str, tuple[ScoreSpace, VoteWeighting]] = {
    "logprob": ("log_probability", "exp(s)"),
    "perplexity": ("reward", "exp(s)"),
    "entropy": ("reward", "exp(s)"),
    "certainty": ("reward", "s"),
    "mean": ("reward", "s"),
    "group": ("reward", "s"),
    "bottom": ("reward", "s"),
    "tail": ("reward", "s"),
}


class ConfidenceScorer(Scorer):
    r"""Scores a solution by the logits that the generator sampled its tokens from.

    No second model and no further forward pass: ``cost.scorer`` is 0. The logits are the model's
    own, before temperature and every other processor. Per token t, ``log p_t`` is its
    log-probability, ``C_t`` minus the mean log-probability of the 20 likeliest tokens, ``H_t`` the
    entropy. The measures, all higher for the more certain:

    - ``"logprob"``: ``mean_t log p_t``; ``"perplexity"``: ``-exp(-mean_t log p_t)``;
    - ``"entropy"``: ``-mean_t H_t``; ``"certainty"``: ``mean_t KL(uniform || p_t)``;
    - ``"mean"``: ``mean_t C_t``; ``"group"``: the least mean of ``window`` tokens in a row;
      ``"bottom"``: the mean of the least tenth of those; ``"tail"``: that of the last ``window``.

    Args:
        measure: see above.
        window: tokens of a group, and of the tail.
        per_step: whether each step has a score, or the solution has one.
        splitter: where solutions are split into steps; ``None``: at newlines.

    Raises:
        ValueError: there is no such measure, or the window is no whole number of at least 1.

    Source: Kang et al. 2025, 2502.18581 (self-certainty); Fu et al. 2025, 2508.15260, section 3
    (DeepConf: group, bottom and tail confidence).

    Examples:
        >>> from reason_decode import BestOfN, ConfidenceScorer, tiny
        >>> t = tiny.load()
        >>> best = BestOfN(ConfidenceScorer(), tokenizer=t.tokenizer, n=4)
        >>> inputs = t.tokenizer(["Make 24 from 4 5 6 10.\n"], return_tensors="pt")
        >>> sampling = {"do_sample": True, "max_new_tokens": 40, "return_dict_in_generate": True}
        >>> t.model.generate(**inputs, **sampling, custom_generate=best).cost.scorer
        0
    """

    def __init__(
        self,
        measure: ConfidenceMeasure = "logprob",
        *,
        window: int = 2048,
        per_step: bool = False,
        splitter: StepSplitter | None = None,
    ) -> None:
        if measure not in _SPACES:
            allowed = ", ".join(get_args(ConfidenceMeasure))
            raise ValueError(f"got measure={measure!r}; allowed are {allowed}")
        if not isinstance(window, int) or isinstance(window, bool) or window < 1:
            raise ValueError(f"got window={window!r}; pass a whole number of tokens, at least 1")
        self.measure, self.window, self.per_step = measure, window, per_step
        self.score_space, self.vote_weighting = _SPACES[measure]
        self.splitter = splitter or StepSplitter()

    def reads_generation(self, model: object) -> bool:
        """True of every generator that runs in this process."""
        return True

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Raise: a text does not say which logits it was sampled from.

        Raises:
            ValueError: always.
        """
        raise _no_texts()

    def start_session(self, prompts: Sequence[str]) -> Session:
        """Raise, before anything is sampled: a session scores texts.

        Raises:
            ValueError: always.
        """
        raise _no_texts()

    def score_generated(self, solutions: Sequence[Sequence[TokenStats]]) -> list[Tensor]:
        """Scores of solutions by the statistics of their steps' tokens.

        Args:
            solutions: for each solution the statistics of its steps' tokens.

        Returns:
            For each solution float32 (1,), or (s,) with ``per_step``; (0,) without steps.
        """
        scores: list[Tensor] = []
        for steps in solutions:
            parts = list(steps) if self.per_step or not steps else [joined(steps)]
            values = [_MEASURES[self.measure](part, self.window) for part in parts]
            scores.append(torch.stack(values) if values else torch.zeros(0))
        if self.measure in ("entropy", "certainty") and any(x.isnan().any() for x in scores):
            raise ValueError(
                f"got measure={self.measure!r}, which reads the whole distribution of a token; a "
                "server gives the likeliest alone: use logprob, perplexity, mean, group, bottom or "
                "tail, or a model in this process"
            )
        return scores

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer."""
        return {"measure": self.measure, "window": self.window, "per_step": self.per_step}


def _no_texts() -> ValueError:
    return ValueError(
        "got texts to score by confidence, which is read from the generator's logits while it "
        "samples: pass the scorer to BestOfN, SelfConsistency or StepSearch, without lookahead and "
        "score_part there. Texts are scored by LikelihoodScorer(model, tokenizer)"
    )


def joined(steps: Sequence[TokenStats]) -> TokenStats:
    """The statistics of all tokens of some steps."""
    return TokenStats(*(torch.cat(x).cpu() for x in zip(*steps, strict=True)))


def _mean(x: Tensor) -> Tensor:
    # A step in which no token ends says nothing; 0 is what its log-probability would be.
    return x.mean() if len(x) else x.new_zeros(())


def group_means(confidences: Tensor, window: int) -> Tensor:
    """Means of all groups of ``window`` values in a row; of all values where they are fewer."""
    if len(confidences) <= window:
        return _mean(confidences)[None]
    sums = torch.cat([confidences.new_zeros(1).double(), confidences.double().cumsum(0)])
    return ((sums[window:] - sums[:-window]) / window).float()


def _lowest_tenth(means: Tensor) -> Tensor:
    return means.topk(max(1, len(means) // 10), largest=False).values.mean()


_MEASURES: dict[str, Callable[[TokenStats, int], Tensor]] = {
    "logprob": lambda x, window: _mean(x.logps),
    "perplexity": lambda x, window: -(-_mean(x.logps)).exp(),
    "entropy": lambda x, window: -_mean(x.entropies),
    "certainty": lambda x, window: _mean(x.certainties),
    "mean": lambda x, window: _mean(x.confidences),
    "group": lambda x, window: group_means(x.confidences, window).min(),
    "bottom": lambda x, window: _lowest_tenth(group_means(x.confidences, window)),
    "tail": lambda x, window: _mean(x.confidences[-window:]),
}
