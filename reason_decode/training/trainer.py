"""One run of transformers' Trainer: our loss, its loop, checkpoints and progress."""

import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from reason_decode.models.devices import has_native_bf16
from reason_decode.training.examples import collate
from reason_decode.training.lora import merged
from reason_decode.training.sampler import LengthSortedSampler

__all__ = ["TrainingConfig", "fit"]

Loss = Callable[..., Tensor]
"""Of the model's output, the labels (b, t), and ``num_items_in_batch``, how many labels all batches
of an update have; with ``tell``, of ``told`` too."""

Tell = Callable[[dict[str, Any]], Any]
"""Of a batch, before the model reads it, what its loss needs to know: what a teacher says, say. It
may take out what is not for the model to read, or ask the model for more."""


class TrainingItem(Protocol):
    """What is learnt from as a whole, such as an ``Example``."""

    @property
    def ids(self) -> Sequence[int]:
        """The tokens of its longest text."""
        ...

    @property
    def places(self) -> Sequence[int]:
        """One a label."""
        ...


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how fast to learn.

    Args:
        epochs: passes over the examples; a fraction will do.
        batch: examples of a forward pass.
        accumulate: forward passes of an update, each of like lengths; the loss is the mean over all
            their labels.
        learning_rate: the peak of a linear warm-up and a cosine.
        warmup: updates until the peak; below 1, a share of all.
        weight_decay: of AdamW.
        seed: of the order of examples, of new heads and of dropout.
        bfloat16: compute in bfloat16 where autocast does; weights stay as they are. A processor
            without such instructions imitates them, many times slower: there it is left out.
        save_steps: updates between two checkpoints.
        max_tokens: longer examples are left out, and counted.
        recompute: keep few activations and compute the others anew (gradient checkpointing).
        min_steps: more epochs where those would be fewer updates than this.

    Raises:
        ValueError: a number that is not positive.
    """

    epochs: float = 1.0
    batch: int = 16
    accumulate: int = 1
    learning_rate: float = 1e-4
    warmup: float = 0.05
    weight_decay: float = 0.01
    seed: int = 0
    bfloat16: bool = False
    save_steps: int = 500
    max_tokens: int = 4096
    recompute: bool = False
    min_steps: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "accumulate", "learning_rate", "save_steps", "max_tokens"):
            if not getattr(self, name) > 0:
                raise ValueError(f"got {name}={getattr(self, name)}; it must be positive")


def fit(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[TrainingItem],
    out: str | Path,
    *,
    loss: Loss,
    recipe: TrainingConfig,
    held_out: Sequence[TrainingItem] = (),
    fold: bool = True,
    adapters: Sequence[str] | None = None,
    tell: Tell | None = None,
    batch: Callable[..., dict[str, Tensor]] = collate,
) -> dict[str, Any]:
    """Train a model and save it; a run that was stopped goes on from its last checkpoint.

    Args:
        model: a transformers model, or peft's around one.
        tokenizer: gives the padding.
        examples: to learn from.
        out: the folder of the model, and of checkpoints, log and plot.
        loss: see ``Loss``.
        recipe: how.
        held_out: to measure the loss on after every epoch.
        fold: whether LoRA matrices are added to the weights; else they alone are saved.
        adapters: which of a model's adapters are saved where they are not folded in; ``None``: all.
        tell: what it returns of a batch, ``loss`` is given as ``told``.
        batch: makes a batch, with ``labels``, of examples and the id of padding.

    Returns:
        ``examples``, ``labels``, ``too_long`` (left out), ``updates`` and ``trained`` (weights that
        learnt) as counts, ``loss`` and ``held_out_loss``, in nats a label, the last of each.

    Raises:
        ModuleNotFoundError: accelerate, which the Trainer needs, is not installed.
        ValueError: no example, or a tokenizer without a padding token.
    """
    try:
        import accelerate  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "training needs accelerate: pip install 'reason-decode[training]'"
        ) from error
    from transformers.trainer_utils import get_last_checkpoint

    pad = tokenizer.pad_token_id
    if not isinstance(pad, int):
        raise ValueError("got a tokenizer without a padding token; set tokenizer.pad_token")
    fitting = [x for x in examples if len(x.ids) <= recipe.max_tokens]
    if not fitting:
        raise ValueError(
            f"got {len(examples)} examples and none of at most {recipe.max_tokens} tokens; give "
            "labelled solutions, or raise max_tokens"
        )
    out, recipe = Path(out), _long_enough(recipe, len(fitting))
    checkpoints = out / "checkpoints"
    trained = sum(x.numel() for x in model.parameters() if x.requires_grad)
    trainer = _trainer(
        tell,
        model=model,
        args=_arguments(recipe, checkpoints, evaluated=bool(held_out)),
        data_collator=partial(_collated, batch=batch, pad=pad),
        train_dataset=_rows(fitting),  # pyright: ignore[reportArgumentType] - a list is one to read from
        eval_dataset=_rows(x for x in held_out if len(x.ids) <= recipe.max_tokens) or None,  # pyright: ignore[reportArgumentType]
        compute_loss_func=loss,
    )
    last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    if fold:
        merged(model).eval().save_pretrained(out)
    else:
        model.eval().save_pretrained(out, selected_adapters=adapters)
    tokenizer.save_pretrained(out)
    return {
        "examples": len(fitting),
        "labels": sum(len(x.places) for x in fitting),
        "too_long": len(examples) - len(fitting),
        "updates": trainer.state.global_step,
        "trained": trained,
        **_losses(trainer.state.log_history, out),
    }


def _long_enough(recipe: TrainingConfig, examples: int) -> TrainingConfig:
    """The recipe with as many epochs as ``min_steps`` takes."""
    needed = recipe.min_steps * recipe.batch * recipe.accumulate / examples
    return replace(recipe, epochs=max(recipe.epochs, needed))


def _losses(history: Sequence[dict[str, Any]], out: Path) -> dict[str, float | None]:
    """The last of each kind; the log and its plot are written."""
    (out / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    plot(history, out / "loss.svg")
    last = {key: [row[key] for row in history if key in row] for key in ("loss", "eval_loss")}
    loss, held_out = ((found or [None])[-1] for found in last.values())
    return {"loss": loss, "held_out_loss": held_out}


def _arguments(recipe: TrainingConfig, out: Path, *, evaluated: bool) -> Any:
    """What the Trainer is told, of the recipe and beside it."""
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(out),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch,
        per_device_eval_batch_size=recipe.batch,
        gradient_accumulation_steps=recipe.accumulate,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        bf16=recipe.bfloat16 and has_native_bf16(),
        # Left to itself, it refuses bfloat16 where there is no accelerator.
        use_cpu=not torch.accelerator.is_available(),
        save_steps=recipe.save_steps,
        save_total_limit=2,
        logging_steps=10,
        eval_strategy="epoch" if evaluated else "no",
        remove_unused_columns=False,
        label_names=["labels"],
        gradient_checkpointing=recipe.recompute,
        gradient_checkpointing_kwargs={"use_reentrant": False} if recipe.recompute else None,
        report_to="none",
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _trainer(tell: Tell | None, compute_loss_func: Loss, **options: Any) -> Any:
    """A Trainer in our order, that has the loss told of each batch before the model reads it."""
    from transformers import Trainer

    class Told(Trainer):
        def get_train_dataloader(self) -> DataLoader[Any]:
            rows: Any = self.train_dataset
            size = self.args.train_batch_size
            order = LengthSortedSampler(
                [len(row["input_ids"]) for row in rows],
                size * self.args.gradient_accumulation_steps,
                self.args.seed,
            )
            loader = DataLoader(
                rows,
                batch_size=size,
                sampler=order,
                collate_fn=self.data_collator,
                pin_memory=self.args.dataloader_pin_memory,
            )
            return self.accelerator.prepare(loader)

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            if tell is not None:
                self.compute_loss_func = partial(compute_loss_func, told=tell(inputs))
            return super().compute_loss(model, inputs, *args, **kwargs)

    return Told(compute_loss_func=compute_loss_func, **options)


def _rows(examples: Iterable[TrainingItem]) -> list[dict[str, Any]]:
    # The forward passes of an update are of like lengths, which are those of input_ids.
    return [{"input_ids": example.ids, "example": example} for example in examples]


def _collated(rows: Sequence[dict[str, Any]], batch: Any, pad: int) -> dict[str, Tensor]:
    return batch([row["example"] for row in rows], pad)


def plot(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the losses of a run over its updates; without matplotlib, warn and go on."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        warnings.warn(f"no {path.name}: pip install matplotlib to have the run drawn", stacklevel=2)
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for key, name in (("loss", "training"), ("eval_loss", "held out")):
        points = [(row["step"], row[key]) for row in history if key in row]
        if points:
            axes.plot(
                *zip(*points, strict=True), label=name, marker="." if len(points) < 20 else ""
            )
    axes.set_xlabel("updates")
    axes.set_ylabel("loss, nats a label")
    if axes.lines:
        axes.legend()
    figure.savefig(path)
