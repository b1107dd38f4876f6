"""transformers' Trainer with our losses: one run that saves, resumes and logs."""

import logging
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
from reason_decode.training.frozen import FrozenBody, HeadExample, read_states
from reason_decode.training.model_card import ModelCard, check_hub, save_model
from reason_decode.training.run_folder import (
    fingerprint_items,
    finished_run,
    last_checkpoint,
    mark_finished,
    model_fingerprint,
    run_folder,
)
from reason_decode.training.run_log import run_metrics, write_log
from reason_decode.training.sampler import LengthSortedSampler

__all__ = ["Loss", "Measure", "SideInputs", "TrainingItem", "train"]

_log = logging.getLogger(__name__)
# Options that change neither the examples nor the weights at the end.
_NO_SETTINGS = {"restart", "report_to", "save_steps", "push_to_hub", "hub_model_id"}

Loss = Callable[..., Tensor]
"""``(output, labels, num_items_in_batch) -> ()``: the model's output, the labels (b, t), and the
number of labels in all batches of the optimizer step; with ``SideInputs`` also ``side_inputs=``."""

SideInputs = Callable[[dict[str, Any]], Any]
"""Batch -> inputs of the loss that the model must not see, such as a teacher's logits. It is called
before the model reads the batch, and may remove entries, or add options of the forward pass."""


Measure = Callable[[], dict[str, float]]
"""Metrics of held-out solutions by the model in its present state, by name."""


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
    measure: Measure | None = None,
    best_metric: str = "loss",
    merge_lora: bool = True,
    adapters: Sequence[str] | None = None,
    side_inputs: SideInputs | None = None,
    collate: Callable[..., dict[str, Tensor]] = collate,
    frozen: FrozenBody | None = None,
) -> dict[str, Any]:
    """Train a model and save it; a run that was stopped resumes from its last checkpoint.

    Args:
        model: a transformers model, or a peft model around one.
        tokenizer: the tokenizer of ``model``; its padding token pads batches.
        examples: the training examples.
        output: folder of the model, with checkpoints, log and loss plot.
        config: length, step size and memory of the run.
        loss: the loss of a batch; see ``Loss``.
        held_out: examples whose loss is measured, after every epoch unless the config says
            otherwise.
        measure: further metrics of the model as it is, taken at the same times.
        best_metric: metric that the best checkpoint is chosen by where the config names none.
        merge_lora: merge LoRA matrices into the weights before saving; else save them alone.
        adapters: names of the adapters to save if they are not merged; ``None`` for all.
        side_inputs: batch -> the argument ``side_inputs`` of ``loss``; see ``SideInputs``.
        collate: examples and padding id -> batch with ``labels``.
        frozen: train the head of ``model`` alone, with the states that its body gives; ``collate``
            and ``measure`` are then those of ``frozen``.

    Returns:
        ``examples``, ``labels``, ``too_long`` (examples left out), ``steps`` (optimizer steps) and
        ``trainable_parameters`` as counts; ``loss`` and ``held_out_loss`` in nats per label, and
        the metrics: the last of each, or those of the best checkpoint.

    Raises:
        ModuleNotFoundError: accelerate, which the Trainer needs, is not installed.
        ValueError: no example is short enough, the tokenizer has no padding token, or the folder
            belongs to a run with other settings, data or base, or to another process.
    """
    _require_accelerate()
    check_hub(config)
    pad = _padding(tokenizer)
    fitting = _short_enough(examples, config.max_length)
    output, config = Path(output), _with_min_steps(config, len(fitting))
    if config.dtype == "float32" and not getattr(model, "is_quantized", False):
        model.float()
    learner = model if frozen is None else frozen.learner()
    settings = _settings(config, model, fitting)
    measured: Sequence[TrainingItem] = [x for x in held_out if len(x.ids) <= config.max_length]
    _check_evaluation(config, len(measured))
    with run_folder(output, settings, restart=config.restart) as checkpoints:
        if (done := finished_run(output)) is not None:
            _log.warning("the run in %s was finished: nothing was trained; see restart", output)
            return done
        learned = fitting
        if frozen is not None:
            learned, measured = _with_states(frozen, checkpoints, pad, model, fitting, measured)
            measure, collate = partial(frozen.metrics, measured), frozen.collate
        trainer = _trainer(
            side_inputs,
            measure,
            model=learner,
            args=_arguments(config, checkpoints, evaluated=bool(measured), default=best_metric),
            data_collator=partial(_collate_rows, collate=collate, pad=pad),
            train_dataset=_rows(learned),
            eval_dataset=_rows(measured) or None,
            compute_loss_func=loss,
            callbacks=_callbacks(config),
        )
        trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
        if measured and config.eval_strategy == "epoch":
            _evaluate_end(trainer)
        result = _counts(fitting, len(examples)) | _metrics(trainer, config)
        if trainer.is_world_process_zero():  # of several processes one saves
            write_log(trainer.state.log_history, output)
            card = ModelCard(str(getattr(model, "name_or_path", "")), config, result)
            save_model(model, tokenizer, output, card, adapters, merge_lora)
            mark_finished(output, result)
    return result


def _with_states(
    frozen: FrozenBody, checkpoints: Path, pad: int, model: Any, *groups: Sequence[TrainingItem]
) -> list[list[HeadExample]]:
    """Examples to learn and held-out ones, with the states of the body of a model."""
    model.eval()
    if torch.accelerator.is_available():
        model.to(torch.accelerator.current_accelerator())
    names = "learned", "held out"
    return [
        read_states(group, frozen.read, pad, checkpoints / f"states-{k}", about=f"reading {name}")
        for k, (name, group) in enumerate(zip(names, groups, strict=True))
    ]


def _evaluate_end(trainer: Any) -> None:
    """Evaluate at the last step where a kill came between its checkpoint and its evaluation."""
    step, history = trainer.state.global_step, trainer.state.log_history
    if trainer.args.load_best_model_at_end:
        return  # then a step is evaluated before it is saved
    if not any(row.get("step") == step and "eval_loss" in row for row in history):
        trainer.evaluate()


def _counts(fitting: Sequence[TrainingItem], given: int) -> dict[str, int]:
    labels = sum(len(x.positions) for x in fitting)
    return {"examples": len(fitting), "labels": labels, "too_long": given - len(fitting)}


def _metrics(trainer: Any, config: TrainingConfig) -> dict[str, Any]:
    """Steps, weights that were trained, losses and metrics of a run."""
    best = trainer.state.best_global_step if config.keeps_best else None
    return {
        "steps": trainer.state.global_step,
        "trainable_parameters": sum(
            x.numel() for x in trainer.model.parameters() if x.requires_grad
        ),
        **run_metrics(trainer.state.log_history, best),
    }


def _padding(tokenizer: PreTrainedTokenizerBase) -> int:
    if not isinstance(tokenizer.pad_token_id, int):
        raise ValueError("got a tokenizer without a padding token; set tokenizer.pad_token")
    return tokenizer.pad_token_id


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


def _with_min_steps(config: TrainingConfig, examples: int) -> TrainingConfig:
    """The config with enough epochs for ``min_steps``."""
    needed = config.min_steps * config.batch_size * config.gradient_accumulation_steps / examples
    return replace(config, num_train_epochs=max(config.epochs, needed))


def _check_evaluation(config: TrainingConfig, held_out: int) -> None:
    """Raise if the best checkpoint is asked for, and nothing is held out to find it."""
    if config.keeps_best and (not held_out or config.eval_strategy == "no"):
        raise ValueError(
            f"got {held_out} held-out examples and eval_strategy={config.eval_strategy!r} for the "
            "best checkpoint; hold out more (--hold-out), evaluate by steps or epoch, or leave "
            "load_best_model_at_end and early_stopping_patience out"
        )


def _callbacks(config: TrainingConfig) -> list[Any]:
    if config.early_stopping_patience is None:
        return []
    from transformers import EarlyStoppingCallback

    return [EarlyStoppingCallback(config.early_stopping_patience)]


def _arguments(
    config: TrainingConfig, output: Path, *, evaluated: bool, default: str = "loss"
) -> Any:
    from transformers import TrainingArguments

    best: dict[str, Any] = {"save_steps": config.save_steps}
    if config.keeps_best:
        metric = config.metric_for_best_model or default
        best = {
            "load_best_model_at_end": True,
            "metric_for_best_model": metric,
            "greater_is_better": "loss" not in metric,
            # The best checkpoint is one of those that were measured.
            "save_strategy": config.eval_strategy,
            "save_steps": config.eval_steps,
        }
    return TrainingArguments(
        output_dir=str(output),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        learning_rate=config.peak,
        lr_scheduler_type="cosine",
        warmup_steps=config.warmup_steps,
        weight_decay=config.weight_decay,
        seed=config.seed,
        bf16=config.bf16 and has_native_bf16(),
        # By default it refuses bfloat16 on machines without an accelerator.
        use_cpu=not torch.accelerator.is_available(),
        save_total_limit=2,
        logging_steps=10,
        eval_strategy=config.eval_strategy if evaluated else "no",
        eval_steps=config.eval_steps,
        **best,
        remove_unused_columns=False,
        label_names=["labels"],
        gradient_checkpointing=config.gradient_checkpointing,
        gradient_checkpointing_kwargs=(
            {"use_reentrant": False} if config.gradient_checkpointing else None
        ),
        report_to=config.report_to,
        dataloader_pin_memory=torch.cuda.is_available(),
    )


def _trainer(
    side_inputs: SideInputs | None,
    measure: Measure | None,
    compute_loss_func: Loss,
    **options: Any,
) -> Any:
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

        def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
            output = super().evaluation_loop(*args, **kwargs)
            found = {} if measure is None else measure()
            # Here, and not in evaluate(), whose callbacks stop early by these metrics.
            metrics: Any = output.metrics
            metrics.update({f"eval_{name}": value for name, value in found.items()})
            wanted = self.args.metric_for_best_model
            if wanted is not None and f"eval_{wanted.removeprefix('eval_')}" not in metrics:
                known = ", ".join(["loss", *found])
                raise ValueError(f"got metric_for_best_model={wanted!r}; allowed are {known}")
            return output

    return SideInputTrainer(compute_loss_func=compute_loss_func, **options)


def _rows(examples: Iterable[TrainingItem]) -> list[dict[str, Any]]:
    # The sampler and the Trainer read an example's length from its input_ids.
    return [{"input_ids": example.ids, "example": example} for example in examples]


def _collate_rows(rows: Sequence[dict[str, Any]], collate: Any, pad: int) -> dict[str, Tensor]:
    return collate([row["example"] for row in rows], pad)
