"""Training outcome reward models: whether a whole solution's answer is right."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForSequenceClassification, set_seed
from transformers import PreTrainedTokenizerBase as Tokenizer

from reason_decode.models.checkpoint import load_checkpoint
from reason_decode.scorers.outcome import OutcomeRewardModel
from reason_decode.training.examples import outcome_examples
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.lora import with_lora
from reason_decode.training.losses import outcome_loss
from reason_decode.training.trainer import TrainingConfig, fit

__all__ = ["train_orm"]


def train_orm(
    source: str | Path,
    tokenizer: Tokenizer,
    solutions: Sequence[LabelledSolution],
    out: str | Path,
    *,
    separator: str = "\n",
    chat: bool | None = None,
    lora: int | None = None,
    recipe: TrainingConfig | None = None,
    held_out: Sequence[LabelledSolution] = (),
) -> dict[str, Any]:
    r"""Train an outcome reward model; ``OutcomeRewardModel.from_pretrained(out)`` then loads it.

    Minimises the mean of ``-log p(right or wrong)`` at each solution's last token.

    Args:
        source: the model to begin with, a folder or a Hub id.
        tokenizer: its own.
        solutions: whose ``correct`` is known; others are left out.
        out: a folder; checkpoints, the log and its plot go there too.
        separator: what ends a step.
        chat: whether to use the tokenizer's chat template; ``None``: if there is one.
        lora: rank of LoRA matrices, which are folded in at the end; ``None`` trains every weight.
        recipe: how long and how fast.
        held_out: measured after every epoch.

    Returns:
        Counts and losses; see ``fit``.

    Raises:
        ValueError: no solution whose answer is known to be right or wrong.

    Source: Cobbe et al. 2021, 2110.14168; Lightman et al. 2023, 2305.20050, section 2.5.
    """
    recipe = recipe or TrainingConfig()
    set_seed(recipe.seed)
    model = load_checkpoint(
        AutoModelForSequenceClassification,
        source,
        new_head=True,
        num_labels=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    judge = OutcomeRewardModel(model, tokenizer, separator=separator, chat=chat)
    learner: Any = model.train()
    if lora is not None:
        learner = with_lora(model, lora, head="score")
    return fit(
        learner,
        tokenizer,
        list(outcome_examples(solutions, judge)),
        out,
        loss=outcome_loss,
        recipe=recipe,
        held_out=list(outcome_examples(held_out, judge)),
    )
