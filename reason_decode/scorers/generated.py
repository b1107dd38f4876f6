"""Scores of sampled continuations by the logits that they were sampled from."""

from collections.abc import Sequence

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reason_decode.generation.sampling import Branch
from reason_decode.generation.token_stats import stats_of_steps
from reason_decode.scorers.base import Scorer, candidate_names, check_finite

__all__ = ["score_branches"]


def score_branches(
    scorer: Scorer,
    branches: Sequence[Branch],
    steps: Sequence[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
) -> list[Tensor]:
    """The scores of the steps of each branch, float32 (s,), or (1,) of a whole.

    Args:
        scorer: one whose ``reads_generation`` is true of the generator.
        branches: continuations with the statistics of their tokens.
        steps: the steps that each branch added.
        tokenizer: the generator's tokenizer.

    Raises:
        NonFiniteScoreError: a score is NaN or infinite.
    """
    stats = [
        # A scorer of wholes puts the steps together again, so that they need not be found.
        stats_of_steps(x.stats, x.tokens, new if scorer.per_step else new[:1], tokenizer)
        for x, new in zip(branches, steps, strict=True)
        if x.stats is not None
    ]
    scores = scorer.score_generated(stats)
    check_finite(scores, candidate_names([steps]))
    return scores
