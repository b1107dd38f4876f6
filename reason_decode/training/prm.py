"""Training process reward models: a class for every step, up to the first wrong one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, AutoModelForTokenClassification, set_seed
from transformers import PreTrainedTokenizerBase as Tokenizer

from reason_decode.models.checkpoint import load_checkpoint
from reason_decode.scorers.prm_formats import format_by_name
from reason_decode.training.examples import step_examples
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.lora import with_lora
from reason_decode.training.losses import class_loss, tag_loss
from reason_decode.training.trainer import TrainingConfig, fit

__all__ = ["HEADS", "train_prm"]

HEADS = ("token-classification", "math-shepherd")
_BINARY = {-1: 0, 1: 1}
_RATINGS = {-1: 0, 0: 1, 1: 2}


def train_prm(
    source: str | Path,
    tokenizer: Tokenizer,
    solutions: Sequence[LabelledSolution],
    out: str | Path,
    *,
    head: str = "token-classification",
    separator: str = "\n",
    ratings: bool = False,
    lora: int | None = None,
    recipe: TrainingConfig | None = None,
    held_out: Sequence[LabelledSolution] = (),
) -> dict[str, Any]:
    r"""Train a process reward model; ``ProcessRewardModel.from_pretrained(out)`` then loads it.

    Minimises the mean of ``-log p(label of step)`` over all labelled steps. Text is laid out by the
    format that will score it, so what was learnt at a token is what is read there.

    Args:
        source: the model to begin with, a folder or a Hub id.
        tokenizer: its own.
        solutions: with labels; see ``read_labelled``.
        out: a folder; checkpoints, the log and its plot go there too.
        head: ``"token-classification"``, a new head unless the model has one of as many classes; or
            ``"math-shepherd"``, tokens ``+`` and ``-`` at a tag ``ки``, of which the tokenizer must
            have all three.
        separator: what ends a step.
        ratings: three classes (wrong, neutral, right) instead of two; only with a head.
        lora: rank of LoRA matrices, which are folded in at the end; ``None`` trains every weight.
        recipe: how long and how fast.
        held_out: measured after every epoch.

    Returns:
        Counts and losses; see ``fit``.

    Raises:
        ValueError: a head that does not exist, a label without a class, or no labelled step.

    Source: Lightman et al. 2023, 2305.20050, sections 2.4 and 2.6; PRM800K's three ratings.
    """
    if head not in HEADS:
        raise ValueError(f"got head={head!r}; allowed are {', '.join(HEADS)}")
    if ratings and head != "token-classification":
        raise ValueError(f"got ratings=True with head={head!r}; it has the tokens of two classes")
    recipe = recipe or TrainingConfig()
    classes = _RATINGS if ratings else _BINARY
    odd = {x for s in solutions for x in s.labels if x is not None and x not in classes}
    if odd:
        raise ValueError(
            f"got labels {sorted(odd)}; allowed are {sorted(classes)} and None: settle neutral "
            "steps with read_labelled(neutral=...), or pass ratings=True"
        )
    set_seed(recipe.seed)
    model, loss = _model(source, head, len(classes))
    judge = format_by_name(head)(model, tokenizer, separator=separator)
    if head == "math-shepherd":
        loss = tag_loss([judge.token_ids["-"], judge.token_ids["+"]])
    learner = model.train()
    if lora is not None:
        learner = with_lora(model, lora, head="score" if head == HEADS[0] else None)
    return fit(
        learner,
        tokenizer,
        list(step_examples(solutions, judge, classes)),
        out,
        loss=loss,
        recipe=recipe,
        held_out=list(step_examples(held_out, judge, classes)),
    )


def _model(source: str | Path, head: str, classes: int) -> tuple[Any, Any]:
    """The model with its head, and the loss on what it gives."""
    if head == "math-shepherd":
        return load_checkpoint(AutoModelForCausalLM, source), None
    # "right" names the one class that a score counts; of three ratings all but the first do.
    names = ["wrong", "right"] if classes == 2 else ["negative", "neutral", "positive"]
    model = load_checkpoint(
        AutoModelForTokenClassification,
        source,
        num_labels=classes,
        id2label=dict(enumerate(names)),
        label2id={name: k for k, name in enumerate(names)},
        # A head of other classes is no beginning for these.
        new_head=True,
    )
    return model, class_loss
