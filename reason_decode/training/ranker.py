"""Training of rankers: scores that put right solutions of a problem above wrong ones."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase as Tokenizer
from transformers import set_seed

from reason_decode.models.layers import keep_layers
from reason_decode.scorers.base import Scorer
from reason_decode.scorers.encoder_session import body_auto_class
from reason_decode.scorers.ranking import RankingModel, has_ranking_head, tokenizer_with_window
from reason_decode.training.frozen_ranker import ranking_arguments
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.lora import with_lora
from reason_decode.training.ranker_config import RankerConfig
from reason_decode.training.ranking_batches import (
    collate_groups,
    ranking_groups,
)
from reason_decode.training.trainer import train

__all__ = ["load_ranker", "pair_accuracy", "train_ranker"]


def train_ranker(
    model: str | Path,
    tokenizer: Tokenizer,
    right: Sequence[LabelledSolution],
    wrong: Sequence[LabelledSolution],
    output: str | Path,
    config: RankerConfig | None = None,
    *,
    held_out: tuple[Sequence[LabelledSolution], Sequence[LabelledSolution]] = ((), ()),
) -> dict[str, Any]:
    r"""Train a ranker; ``RankingModel.from_pretrained(output)`` loads it.

    Minimizes, over problems, the mean of ``(1 - s_pos)^3 + s_neg^3`` (or another ``RankingLoss``)
    over all pairs of a right and a wrong solution; each solution is read once per epoch, however
    many pairs it is in.

    Args:
        model: the model to start from: an encoder, a causal model, or a ranker to continue
            training; a folder or a Hub id.
        tokenizer: the tokenizer of ``model``.
        right: D_pos, samples with right answers; see ``grade_samples``.
        wrong: D_neg, samples with wrong answers.
        output: folder of the model, with checkpoints, log and loss plot.
        config: the settings; the defaults of ``RankerConfig`` if left out.
        held_out: right and wrong samples of other problems, measured after every epoch.

    Returns:
        Counts and losses, see ``trainer.train``, where ``examples`` are problems, and ``labels``
        and ``too_long`` are solutions (an encoder truncates and leaves none out); and
        ``pair_accuracy`` on the held-out samples.

    Raises:
        ModuleNotFoundError: accelerate is not installed; or peft, for LoRA.
        ValueError: no problem with right and wrong samples.

    Source: Li et al. 2024, 2312.12832, adaptive self-consistency; Yiwei98/TDG at ca86f56,
    code/RM/models_ft5.py, lines 286 to 293, which draws one pair per problem and epoch.
    """
    config = config or RankerConfig()
    set_seed(config.seed)
    ranker = load_ranker(model, tokenizer, config)
    keep_layers(ranker.model, config.layer)
    group = partial(
        ranking_groups,
        encoder=ranker,
        max_solutions=config.max_solutions_per_problem,
        max_length=config.max_length,
        mixed=config.loss != "pointwise",
    )
    examples, too_long = group(right, wrong)
    if not examples:
        raise ValueError(
            f"got {len(right)} right and {len(wrong)} wrong samples, and no problem with both; "
            "sample more of each problem, at a higher temperature"
        )
    learner: Any = ranker.model.train()
    if config.lora_rank is not None:
        learner = with_lora(
            learner,
            config.lora_rank,
            alpha=config.lora_alpha,
            target_modules=config.target_modules,
            head="reward_head",
        )
    result = train(
        learner,
        tokenizer_with_window(tokenizer, ranker.window),
        examples,
        output,
        config,
        held_out=group(*held_out)[0],
        measure=partial(_pair_metrics, ranker, *held_out),
        best_metric="pair_accuracy",
        collate=partial(collate_groups, model=ranker.model),
        **ranking_arguments(ranker.model, config),
    )
    trained = RankingModel(
        ranker.model.eval(),
        tokenizer,
        separator=config.separator,
        chat=config.chat,
        window=config.window,
    )
    accuracy = pair_accuracy(trained, *held_out)
    return {**result, "too_long": too_long, "pair_accuracy": accuracy}


def load_ranker(model: str | Path, tokenizer: Tokenizer, config: RankerConfig) -> RankingModel:
    """Load a ranker to train: a trained one, or a model with a new head.

    Args:
        model: a folder or a Hub id.
        tokenizer: the tokenizer of ``model``.
        config: ``separator``, ``chat`` and ``window`` of the ranker.
    """
    if has_ranking_head(model):
        return RankingModel.from_pretrained(
            model, separator=config.separator, chat=config.chat, window=config.window
        )
    loaded = body_auto_class(model).from_pretrained(model)
    return RankingModel(
        loaded,
        tokenizer,
        separator=config.separator,
        chat=config.chat,
        window=config.window,
    )


def _pair_metrics(
    ranker: Scorer, right: Sequence[LabelledSolution], wrong: Sequence[LabelledSolution]
) -> dict[str, float]:
    accuracy = pair_accuracy(ranker, right, wrong)
    return {} if accuracy is None else {"pair_accuracy": accuracy}


def pair_accuracy(
    ranker: Scorer, right: Sequence[LabelledSolution], wrong: Sequence[LabelledSolution]
) -> float | None:
    """Share of the pairs that a ranker puts in the right order, the mean over problems.

    ``mean_problems mean_pairs ([s_pos > s_neg] + [s_pos = s_neg] / 2)``; ``None`` without pairs.

    Args:
        ranker: the ranker.
        right: samples with right answers.
        wrong: samples with wrong answers; problems without both are left out.
    """
    both = {x.prompt for x in right} & {x.prompt for x in wrong}
    sides = [[x for x in side if x.prompt in both] for side in (right, wrong)]
    solutions = [*sides[0], *sides[1]]
    scores = ranker.score([x.prompt for x in solutions], [list(x.steps) for x in solutions])
    found: dict[str, tuple[list[float], list[float]]] = {prompt: ([], []) for prompt in both}
    for k, (solution, score) in enumerate(zip(solutions, scores, strict=True)):
        found[solution.prompt][k >= len(sides[0])].extend(score.tolist())
    shares = [
        sum((a > b) + (a == b) / 2 for a in winners for b in losers) / len(winners) / len(losers)
        for winners, losers in found.values()
        if winners and losers
    ]
    return sum(shares) / len(shares) if shares else None
