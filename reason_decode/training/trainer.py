"""transformers' Trainer with our losses: one run that saves, resumes and logs."""

import json
import logging
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerBase

from reason_decode.models.devices import has_native_bf16
from reason_decode.training.config import TrainingConfig
from reason_decode.training.examples import collate
from reason_decode.training.lora import merge_and_unload
from reason_decode.training.run_folder import fingerprint_items, model_fingerprint, run_folder
from reason_decode.training.sampler import LengthSortedSampler

__all__ = ["Loss", "SideInputs", "TrainingItem", "train"]

_log = logging.getLogger(__name__)
# Options that change neither the examples nor the weights at the end.
_NO_SETTINGS = {"restart", "report_to", "save_steps"}

Loss = Callable[..., Tensor]
"""``(output, labels, num_items_in_batch) -> ()``: the model's output, the labels (b, t), and the
number of labels in all batches of the optimizer step; with ``SideInputs`` also ``side_inputs=``."""

SideInputs = Callable[[dict[str, Any]], Any]
"""Batch -> inputs of the loss that the model must not see, such as a teacher's logits. It is called
before the model reads the batch, and may remove entries, or add options of the forward pass."""


class TrainingItem(Protocol):
    """A training example, such as an ``Example``."""

    @property
    def ids(self) -> Sequence[int]:
        """The tokens of its longest text."""
        ...

    @property
    def positions(self) -> Sequence[int]:
        """One entry per label."""
        ...


def train(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    examples: Sequence[TrainingItem],
    output: str | Path,
    config: TrainingConfig,
    *,
    loss: Loss,
    held_out: Sequence[TrainingItem] = (),
    merge_lora: bool = True,
    adapters: Sequence[str] | None = None,
    side_inputs: SideInputs | None = None,
    collate: Callable[..., dict[str, Tensor]] = collate,
) -> dict[str, Any]:
    """Train a model and save it; a run that was stopped resumes from its last checkpoint.

    Args:
        model: a transformers model, or a peft model around one.
        tokenizer: the tokenizer of ``model``; its padding token pads batches.
        examples: the training examples.
        output: folder of the model, with checkpoints, log and loss plot.
        config: length, step size and memory of the run.
        loss: the loss of a batch; see ``Loss``.
        held_out: examples whose loss is measured after every epoch.
        merge_lora: merge LoRA matrices into the weights before saving; else save them alone.
        adapters: names of the adapters to save if they are not merged; ``None`` for all.
        side_inputs: batch -> the argument ``side_inputs`` of ``loss``; see ``SideInputs``.
        collate: examples and padding id -> batch with ``labels``.

    Returns:
        ``examples``, ``labels``, ``too_long`` (examples left out), ``steps`` (optimizer steps) and
        ``trainable_parameters`` as counts; ``loss`` and ``held_out_loss``, the last of each, in
        nats per label.

    Raises:
        ModuleNotFoundError: accelerate, which the Trainer needs, is not installed.
        ValueError: no example is short enough, the tokenizer has no padding token, or the folder
            belongs to a run with other settings, data or base, or to another process.
    """
    _require_accelerate()
    from transformers.trainer_utils import get_last_checkpoint

    pad = tokenizer.pad_token_id
    if not isinstance(pad, int):
        raise ValueError("got a tokenizer without a padding token; set tokenizer.pad_token")
    fitting = _short_enough(examples, config.max_length)
    output, config = Path(output), _with_min_steps(config, len(fitting))
    if config.dtype == "float32" and not getattr(model, "is_quantized", False):
        model.float()
    trainable = sum(x.numel() for x in model.parameters() if x.requires_grad)
    settings = _settings(config, model, fitting)
    with run_folder(output, settings, restart=config.restart) as checkpoints:
        trainer = _trainer(
            side_inputs,
            model=model,
            args=_arguments(config, checkpoints, evaluated=bool(held_out)),
            data_collator=partial(_collate_rows, collate=collate, pad=pad),
            train_dataset=_rows(fitting),  # pyright: ignore[reportArgumentType] - a list is a dataset
            eval_dataset=_rows(x for x in held_out if len(x.ids) <= config.max_length) or None,  # pyright: ignore[reportArgumentType]
            compute_loss_func=loss,
        )
        last = get_last_checkpoint(str(checkpoints))
        trainer.train(resume_from_checkpoint=last)
        if last is not None and last.endswith(f"-{trainer.state.global_step}"):
            _log.warning("the run in %s was finished: nothing was trained; see restart", output)
        # Of several processes one saves.
        if trainer.is_world_process_zero():
            _save(model, tokenizer, output, adapters, merge_lora)
            losses = _write_log(trainer.state.log_history, output)
        else:
            losses = _last_losses(trainer.state.log_history)
    return {
        "examples": len(fitting),
        "labels": sum(len(x.positions) for x in fitting),
        "too_long": len(examples) - len(fitting),
        "steps": trainer.state.global_step,
        "trainable_parameters": trainable,
        **losses,
    }


def _require_accelerate() -> None:
    try:
        import accelerate  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "training needs accelerate: pip install 'reason-decode[training]'"
        ) from error


def _short_enough(examples: Sequence[TrainingItem], max_length: int) -> list[TrainingItem]:
    fitting = [x for x in examples if len(x.ids) <= max_length]
    if not fitting:
        raise ValueError(
            f"got {len(examples)} examples and none of at most {max_length} tokens; give "
            "labelled solutions, or raise max_length"
        )
    return fitting


def _settings(
    config: TrainingConfig, model: Any, examples: Sequence[TrainingItem]
) -> dict[str, Any]:
    """Everything that the trained weights depend on."""
    options = {name: x for name, x in asdict(config).items() if name not in _NO_SETTINGS}
    return {
        "trained": type(config).__name__,
        **options,
        "model": model_fingerprint(model),
        "examples": fingerprint_items(examples),
    }


def _save(
    model: Any, tokenizer: Any, output: Path, adapters: Sequence[str] | None, merge_lora: bool
) -> None:
    if merge_lora:
        merge_and_unload(model).eval().save_pretrained(output)
    else:
        model.eval().save_pretrained(output, selected_adapters=adapters)
    tokenizer.save_pretrained(output)


def _with_min_steps(config: TrainingConfig, examples: int) -> TrainingConfig:
    """The config with enough epochs for ``min_steps``."""
    needed = config.min_steps * config.batch_size * config.gradient_accumulation_steps / examples
    return replace(config, num_train_epochs=max(config.num_train_epochs, needed))


def _write_log(history: Sequence[dict[str, Any]], output: Path) -> dict[str, float | None]:
    """Write the log and its plot; return the last losses."""
    (output / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    plot(history, output / "loss.svg")
    return _last_losses(history)


def _last_losses(history: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """The last training loss and the last held-out loss."""
    losses = {key: [row[key] for row in history if key in row] for key in ("loss", "eval_loss")}
    loss, held_out = ((found or [None])[-1] for found in losses.values())
    return {"loss": loss, "held_out_loss": held_out}


def _arguments(config: TrainingConfig, output: Path, *, evaluated: bool) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(output),
        num_train_epochs=config.num_train_epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        seed=config.seed,
        bf16=config.bf16 and has_native_bf16(),
        # By default it refuses bfloat16 on machines without an accelerator.
        use_cpu=not torch.accelerator.is_available(),
        save_steps=config.save_steps,
        save_total_limit=2,
        logging_steps=10,
        eval_strategy="epoch" if evaluated else "no",
        remove_unused_columns=False,
        label_names=["labels"],
        gradient_checkpointing=config.gradient_checkpointing,
        gradient_checkpointing_kwargs=(
            {"use_reentrant": False} if config.gradient_checkpointing else None
        ),
        report_to=config.report_to,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _trainer(side_inputs: SideInputs | None, compute_loss_func: Loss, **options: Any) -> Any:
    """A Trainer that sorts each step's examples by length and gives the loss its side inputs."""
    from transformers import Trainer  # its import takes seconds

    class SideInputTrainer(Trainer):
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
            if side_inputs is not None:
                self.compute_loss_func = partial(compute_loss_func, side_inputs=side_inputs(inputs))
            return super().compute_loss(model, inputs, *args, **kwargs)

    return SideInputTrainer(compute_loss_func=compute_loss_func, **options)


def _rows(examples: Iterable[TrainingItem]) -> list[dict[str, Any]]:
    # The sampler and the Trainer read an example's length from its input_ids.
    return [{"input_ids": example.ids, "example": example} for example in examples]


def _collate_rows(rows: Sequence[dict[str, Any]], collate: Any, pad: int) -> dict[str, Tensor]:
    return collate([row["example"] for row in rows], pad)


def plot(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot the losses of a run over its optimizer steps; warn if matplotlib is not installed.

    Args:
        history: ``trainer.state.log_history``.
        path: the image; its ending chooses the format.
    """
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
            marker = "." if len(points) < 20 else ""
            axes.plot(*zip(*points, strict=True), label=name, marker=marker)
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel("loss, nats per label")
    if axes.lines:
        axes.legend()
    figure.savefig(path)
