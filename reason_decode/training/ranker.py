"""Training rankers: of a right and a wrong solution of one problem, which is which."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import set_seed

from reason_decode.scorers.base import Scorer
from reason_decode.scorers.encoder_session import body_auto_class
from reason_decode.scorers.ranking import RankingModel, has_ranking_head, tokenizer_with_window
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.lora import with_lora
from reason_decode.training.ranking_batches import (
    Compare,
    check_compare,
    contests,
    gather,
    ranking_loss,
    tell,
)
from reason_decode.training.trainer import TrainingConfig, fit

__all__ = ["RECIPE", "WINDOW", "train_ranker"]

RECIPE = TrainingConfig(batch=4, learning_rate=1e-4, bfloat16=True)
"""Four problems at a time, of some eight solutions each."""
WINDOW = 128
"""Tokens of a pair: the end of the problem, and of the solution, where the answer stands."""


def train_ranker(
    source: str | Path,
    tokenizer: Tokenizer,
    right: Sequence[LabelledSolution],
    wrong: Sequence[LabelledSolution],
    out: str | Path,
    *,
    compare: Compare = "cubic",
    window: int | None = WINDOW,
    most: int = 16,
    separator: str = "\n",
    chat: bool | None = None,
    lora: int | None = None,
    recipe: TrainingConfig = RECIPE,
    held_out: tuple[Sequence[LabelledSolution], Sequence[LabelledSolution]] = ((), ()),
) -> dict[str, Any]:
    r"""Train a ranker; ``RankingModel.from_pretrained(out)`` then loads it.

    Minimises, over problems, the mean of ``(1 - s_pos)^3 + s_neg^3`` over all pairs of a right and
    a wrong solution; each solution is read once an epoch, whatever pairs it is in.

    Args:
        source: an encoder, a causal model, or a ranker that learns on; a folder or a Hub id.
        tokenizer: its own.
        right: D_pos, see ``grade_samples``.
        wrong: D_neg.
        out: a folder; checkpoints, the log and its plot go there too.
        compare: what is minimised, see ``Compare``. Only ``"pointwise"`` learns from problems whose
            solutions are all right, or all wrong.
        window: of an encoder, see ``RankingModel``; it is saved with it.
        most: solutions of a problem that are compared at a time.
        separator: what ends a step.
        chat: whether to use the tokenizer's chat template; ``None``: if there is one.
        lora: rank of LoRA matrices, which are folded in at the end; ``None`` trains every weight.
        recipe: how long and how fast; ``batch`` counts problems.
        held_out: right and wrong samples of other problems, measured after every epoch.

    Returns:
        Counts and losses, see ``fit``: ``examples`` are problems, ``labels`` solutions, and so are
        those ``too_long``, which only a causal model leaves out. And ``pair_accuracy``, the share
        of the held-out pairs that are put in the right order, the mean over problems; ``None``
        where there are none.

    Raises:
        ModuleNotFoundError: accelerate is not installed; or peft, for LoRA.
        ValueError: no problem with right and wrong samples, or an argument out of range.

    Source: Li et al. 2024, 2312.12832, adaptive self-consistency; Yiwei98/TDG at ca86f56,
    code/RM/models_ft5.py, lines 286 to 293, which draws one pair a problem and epoch.
    """
    check_compare(compare)
    if most < 2:
        raise ValueError(f"got most={most}; a right and a wrong solution need at least 2")
    set_seed(recipe.seed)
    judge = starting_ranker(source, tokenizer, separator=separator, chat=chat, window=window)
    model = judge.model
    how: dict[str, Any] = {
        "most": most,
        "max_tokens": recipe.max_tokens,
        "mixed": compare != "pointwise",
    }
    learnt, too_long = contests(right, wrong, judge, **how)
    if not learnt:
        raise ValueError(
            f"got {len(right)} right and {len(wrong)} wrong samples, and no problem with both; "
            "sample more of each problem, at a higher temperature"
        )
    learner: Any = model.train()
    if lora is not None:
        learner = with_lora(learner, lora, head="reward_head")
    told = fit(
        learner,
        tokenizer_with_window(tokenizer, judge.window),
        learnt,
        out,
        loss=ranking_loss(model, compare),
        recipe=recipe,
        held_out=contests(*held_out, judge, **how)[0],
        tell=tell,
        batch=partial(gather, model=model),
    )
    ranker = RankingModel(model.eval(), tokenizer, separator=separator, chat=chat, window=window)
    accuracy = pair_accuracy(ranker, *held_out)
    return {**told, "too_long": too_long, "pair_accuracy": accuracy}


def starting_ranker(source: str | Path, tokenizer: Tokenizer, **how: Any) -> RankingModel:
    """A ranker to be trained: the one at ``source``, or the model there with a new head.

    Args:
        source: a folder or a Hub id.
        tokenizer: its own.
        how: see ``RankingModel``.
    """
    if has_ranking_head(source):
        return RankingModel.from_pretrained(source, **how)
    model = body_auto_class(source).from_pretrained(source)
    return RankingModel(model, tokenizer, **how)


def pair_accuracy(
    ranker: Scorer, right: Sequence[LabelledSolution], wrong: Sequence[LabelledSolution]
) -> float | None:
    """``mean_problems mean_pairs [s_pos > s_neg] + [s_pos = s_neg] / 2``; ``None`` without pairs.

    Args:
        ranker: scores all of them.
        right: samples with right answers.
        wrong: samples with wrong ones; only problems with both count.
    """
    both = {x.prompt for x in right} & {x.prompt for x in wrong}
    sides = [[x for x in side if x.prompt in both] for side in (right, wrong)]
    asked = [*sides[0], *sides[1]]
    scores = ranker.score([x.prompt for x in asked], [list(x.steps) for x in asked])
    found: dict[str, tuple[list[float], list[float]]] = {prompt: ([], []) for prompt in both}
    for k, (solution, score) in enumerate(zip(asked, scores, strict=True)):
        found[solution.prompt][k >= len(sides[0])].extend(score.tolist())
    shares = [
        sum((a > b) + (a == b) / 2 for a in winners for b in losers) / len(winners) / len(losers)
        for winners, losers in found.values()
        if winners and losers
    ]
    return sum(shares) / len(shares) if shares else None
