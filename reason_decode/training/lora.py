"""LoRA matrices: adding them to a model, and merging them into its weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, set_seed

from reason_decode.adapters.active import require_peft
from reason_decode.models.checkpoint import load_checkpoint

__all__ = ["load_base", "load_with_lora", "lora_config", "merge_and_unload", "with_lora"]


def with_lora(
    model: Any,
    rank: int,
    *,
    alpha: int | None = None,
    target_modules: Sequence[str] = (),
    head: str | None = None,
    task_type: str | None = None,
) -> Any:
    """A peft model in which only LoRA matrices, and a new head, are trainable.

    Args:
        model: a transformers model.
        rank: rank of the matrices.
        alpha: scale of the matrices times their rank; ``None``: twice the rank.
        target_modules: names of the layers that get them; empty for all linear layers but the
            output layer.
        head: name of a new head, all of whose weights are trained and saved.
        task_type: peft's task type, which a saved adapter names, such as ``"TOKEN_CLS"``.

    Raises:
        ModuleNotFoundError: peft is not installed.
        ValueError: the rank is not positive.

    Source: Hu et al. 2021, 2106.09685.
    """
    config = lora_config(rank, alpha=alpha, target_modules=target_modules, head=head)
    from peft import get_peft_model

    if Path(model.name_or_path).is_dir():
        # A saved adapter names its base, wherever it is loaded from.
        model.name_or_path = str(Path(model.name_or_path).resolve())
    learner = get_peft_model(model, config)
    # Not before: peft's classes for tasks have losses of their own.
    learner.peft_config["default"].task_type = task_type
    return learner


def lora_config(
    rank: int,
    *,
    alpha: int | None = None,
    target_modules: Sequence[str] = (),
    dropout: float = 0.0,
    head: str | None = None,
    task_type: str | None = None,
) -> Any:
    """A ``LoraConfig`` of peft.

    Args:
        rank: rank of the matrices.
        alpha: scale of the matrices times their rank; ``None``: twice the rank.
        target_modules: names of the layers that get them; empty for all linear layers but the
            output layer.
        dropout: share of their input that is dropped in training, in [0, 1).
        head: name of a layer that is trained and saved whole instead.
        task_type: peft's task type, such as ``"CAUSAL_LM"``.

    Raises:
        ModuleNotFoundError: peft is not installed.
        ValueError: a rank or dropout out of range.

    Source: Hu et al. 2021, 2106.09685.
    """
    if rank < 1:
        raise ValueError(f"got a LoRA rank of {rank}; it must be positive, or leave LoRA out")
    if not 0 <= dropout < 1:
        raise ValueError(f"got dropout={dropout}; it must be at least 0 and below 1")
    require_peft()
    from peft import LoraConfig

    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank if alpha is None else alpha,
        lora_dropout=dropout,
        target_modules=list(target_modules) or "all-linear",
        exclude_modules=head,
        modules_to_save=[head] if head else None,
        task_type=task_type,
    )


def load_with_lora(
    model: str | Path,
    rank: int,
    *,
    alpha: int | None = None,
    target_modules: Sequence[str],
    dropout: float,
    seed: int,
) -> Any:
    """Load a causal language model and add new LoRA matrices, which alone are trainable.

    Args:
        model: the model to start from, a folder or a Hub id.
        rank: rank of the matrices.
        alpha: scale of the matrices times their rank; ``None``: twice the rank.
        target_modules: names of the layers that get them; empty for all linear layers but the
            output layer.
        dropout: share of their input that is dropped in training, in [0, 1).
        seed: seed of the new matrices; sets torch's, numpy's and Python's random state.

    Raises:
        ModuleNotFoundError: peft is not installed.
        ValueError: a rank or dropout out of range.
    """
    config = lora_config(
        rank,
        alpha=alpha,
        target_modules=target_modules,
        dropout=dropout,
        task_type="CAUSAL_LM",
    )
    from peft import get_peft_model

    set_seed(seed)
    return get_peft_model(load_base(model).train(), config)


def merge_and_unload(model: Any) -> Any:
    """The model with its LoRA matrices merged into its weights; a model without any as it is."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def load_base(model: str | Path) -> Any:
    """Load a causal language model by its absolute path, which saved adapters then name.

    Args:
        model: a folder or a Hub id.
    """
    name = str(Path(model).resolve()) if Path(model).is_dir() else str(model)
    return load_checkpoint(AutoModelForCausalLM, name)
