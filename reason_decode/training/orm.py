"""Training of outcome reward models: whether the answer of a whole solution is right."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import AutoModelForSequenceClassification, set_seed
from transformers import PreTrainedTokenizerBase as Tokenizer

from reason_decode.models.checkpoint import load_checkpoint
from reason_decode.models.layers import keep_layers
from reason_decode.scorers.outcome import OutcomeRewardModel
from reason_decode.training.config import ORMConfig
from reason_decode.training.examples import outcome_examples
from reason_decode.training.frozen import frozen_classifier
from reason_decode.training.grading import warn_of_none_right
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.lora import with_lora
from reason_decode.training.losses import class_loss, outcome_loss
from reason_decode.training.metrics import outcome_class_metrics, outcome_metrics
from reason_decode.training.trainer import train

__all__ = ["train_orm"]


def train_orm(
    model: str | Path,
    tokenizer: Tokenizer,
    solutions: Sequence[LabelledSolution],
    output: str | Path,
    config: ORMConfig | None = None,
    *,
    held_out: Sequence[LabelledSolution] = (),
) -> dict[str, Any]:
    r"""Train an outcome reward model; ``OutcomeRewardModel.from_pretrained(output)`` loads it.

    Minimizes the mean of ``-log p(right or wrong)`` at the last token of each solution.

    Args:
        model: the model to start from, a folder or a Hub id.
        tokenizer: the tokenizer of ``model``.
        solutions: solutions whose answer is known to be right or wrong; others are left out.
        output: folder of the model, with checkpoints, log and loss plot.
        config: the settings; the defaults of ``ORMConfig`` if left out.
        held_out: solutions whose loss is measured after every epoch.

    Returns:
        Counts and losses, see ``trainer.train``; ``accuracy`` on the held-out solutions.

    Raises:
        ModuleNotFoundError: accelerate is not installed; or peft, for LoRA.
        ValueError: no solution whose answer is known to be right or wrong.

    Source: Cobbe et al. 2021, 2110.14168; Lightman et al. 2023, 2305.20050, section 2.5.
    """
    config = config or ORMConfig()
    set_seed(config.seed)
    loaded = load_checkpoint(
        AutoModelForSequenceClassification,
        model,
        new_head=True,
        num_labels=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    keep_layers(loaded, config.layer)
    orm = OutcomeRewardModel(loaded, tokenizer, separator=config.separator, chat=config.chat)
    learner: Any = loaded.train()
    if config.lora_rank is not None:
        learner = with_lora(
            loaded,
            config.lora_rank,
            alpha=config.lora_alpha,
            target_modules=config.target_modules,
            head="score",
            task_type="SEQ_CLS",
        )
    examples = list(outcome_examples(solutions, orm))
    if not examples:
        raise ValueError(
            f"got 0 examples: none of the {len(solutions)} solutions has a reference answer "
            "(`answer`, --answer-column) or a verdict (`correct`, --labels-column)"
        )
    if not any(example.labels[0] for example in examples):
        warn_of_none_right(solutions)
    return train(
        learner,
        tokenizer,
        examples,
        output,
        config,
        loss=class_loss if config.freeze else outcome_loss,
        held_out=list(outcome_examples(held_out, orm)),
        measure=partial(outcome_metrics, orm, held_out),
        best_metric="accuracy",
        merge_lora=config.merge_lora,
        frozen=frozen_classifier(loaded, partial(outcome_class_metrics, orm.score_logits))
        if config.freeze
        else None,
    )
