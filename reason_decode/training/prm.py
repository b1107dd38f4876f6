"""Training of process reward models: a class for every step, up to the first wrong one."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForTokenClassification, set_seed
from transformers import PreTrainedTokenizerBase as Tokenizer

from reason_decode.models.checkpoint import load_checkpoint
from reason_decode.models.layers import keep_layers
from reason_decode.scorers.prm_formats import CONFIG_KEY, format_by_name
from reason_decode.training.config import PRMConfig
from reason_decode.training.examples import step_examples
from reason_decode.training.frozen import frozen_classifier
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.lora import with_lora
from reason_decode.training.losses import class_loss, tag_loss, take_soft
from reason_decode.training.metrics import step_class_metrics, step_metrics
from reason_decode.training.trainer import train

__all__ = ["train_prm"]

_CLASSES = {2: {-1: 0, 1: 1}, 3: {-1: 0, 0: 1, 1: 2}}
"""Number of labels of the head -> label of a step -> class."""
# ProcessRewardModel counts the class named "right"; of three it counts all but the first.
_NAMES = {2: ("wrong", "right"), 3: ("negative", "neutral", "positive")}


def train_prm(
    model: str | Path,
    tokenizer: Tokenizer,
    solutions: Sequence[LabelledSolution],
    output: str | Path,
    config: PRMConfig | None = None,
    *,
    held_out: Sequence[LabelledSolution] = (),
) -> dict[str, Any]:
    r"""Train a process reward model; ``ProcessRewardModel.from_pretrained(output)`` loads it.

    Minimizes the mean of ``-log p(label of step)`` over all labelled steps. Solutions are encoded
    by the format that will score, so scores are read at the tokens that were trained. Soft labels
    p are learned by ``-p log p(right) - (1 - p) log p(wrong)``.

    Args:
        model: the model to start from, a folder or a Hub id.
        tokenizer: the tokenizer of ``model``.
        solutions: labelled solutions; see ``read_labelled``.
        output: folder of the model, with checkpoints, log and loss plot.
        config: the settings; the defaults of ``PRMConfig`` if left out.
        held_out: labelled solutions whose loss is measured after every epoch.

    Returns:
        Counts and losses, see ``trainer.train``; ``first_error_f1`` and ``step_accuracy`` on the
        held-out solutions.

    Raises:
        ModuleNotFoundError: accelerate is not installed; or peft, for LoRA.
        ValueError: a label that has no class, or no labelled step.

    Source: Lightman et al. 2023, 2305.20050, sections 2.4 and 2.6; PRM800K's three ratings.
    """
    config = config or PRMConfig()
    classes = _CLASSES[config.num_labels]
    if not any(x is not None for s in solutions for x in s.labels):
        raise ValueError(
            f"got 0 examples: none of the {len(solutions)} solutions has a label on a step; give "
            "`labels`, one for each step (labels_column, --labels-column, names another column), "
            "or let `reason-decode label` make them"
        )
    unknown = {x for s in solutions for x in s.labels if x is not None and x not in classes}
    if unknown:
        raise ValueError(
            f"got labels {sorted(unknown)}; allowed are {sorted(classes)} and None: resolve "
            "neutral steps by read_labelled(neutral=...), or set num_labels=3"
        )
    set_seed(config.seed)
    is_classifier = config.head == "token-classification"
    loaded = _load_classifier(model, config) if is_classifier else _load_language_model(model)
    keep_layers(loaded, config.layer)
    format = format_by_name(config.head)(loaded, tokenizer, separator=config.separator)
    # What is trained loads without a word about its format.
    saved = {"format": config.head, "separator": config.separator}
    loaded.config.update({CONFIG_KEY: {name: x for name, x in saved.items() if x is not None}})
    soft = config.soft_labels and config.num_labels == 2 and any(x.soft for x in solutions)
    encode = partial(step_examples, encoder=format, classes=classes, soft=soft)
    learner: Any = loaded.train()
    if config.lora_rank is not None:
        learner = with_lora(
            loaded,
            config.lora_rank,
            alpha=config.lora_alpha,
            target_modules=config.target_modules,
            head="score" if is_classifier else None,
            task_type="TOKEN_CLS" if is_classifier else "CAUSAL_LM",
        )
    return train(
        learner,
        tokenizer,
        list(encode(solutions)),
        output,
        config,
        loss=class_loss if is_classifier else tag_loss([format.token_ids[x] for x in ("-", "+")]),
        held_out=list(encode(held_out)),
        side_inputs=take_soft if soft else None,
        measure=partial(step_metrics, format, held_out),
        best_metric="first_error_f1",
        merge_lora=config.merge_lora,
        frozen=frozen_classifier(loaded, partial(step_class_metrics, format.prob_of_logits))
        if config.freeze
        else None,
    )


def _load_language_model(model: str | Path) -> Any:
    return load_checkpoint(AutoModelForCausalLM, model)


def _load_classifier(model: str | Path, config: PRMConfig) -> Any:
    names = _NAMES[config.num_labels]
    return load_checkpoint(
        AutoModelForTokenClassification,
        model,
        num_labels=config.num_labels,
        id2label=dict(enumerate(names)),
        label2id={name: k for k, name in enumerate(names)},
        # A head with another number of labels is replaced by a new one.
        new_head=True,
    )
