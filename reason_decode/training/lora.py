"""Learning few weights beside the frozen ones, and folding them in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, set_seed

from reason_decode.adapters.active import need_peft
from reason_decode.models.checkpoint import load_checkpoint

__all__ = ["begin_lora", "load_base", "lora_config", "merged", "with_lora"]


def with_lora(model: Any, rank: int, *, head: str | None = None) -> Any:
    """A model in which only LoRA matrices on every linear layer, and the head, are learnt.

    Args:
        model: a transformers model.
        rank: of the matrices; their scale is 2.
        head: name of a new head that is learnt whole.

    Raises:
        ModuleNotFoundError: peft is not installed.
        ValueError: the rank is not positive.

    Source: Hu et al. 2021, 2106.09685.
    """
    config = lora_config(rank, exclude_modules=head, modules_to_save=[head] if head else None)
    from peft import get_peft_model

    return get_peft_model(model, config)


def lora_config(
    rank: int, *, targets: str | Sequence[str] = "all-linear", dropout: float = 0.0, **options: Any
) -> Any:
    """A description, for peft, of LoRA matrices, whose scale is 2.

    Args:
        rank: of the matrices.
        targets: names of the layers that get them; ``"all-linear"``: all but the output layer.
        dropout: share of their input that is dropped in training, in [0, 1).
        options: of peft's ``LoraConfig``.

    Raises:
        ModuleNotFoundError: peft is not installed.
        ValueError: a rank or dropout out of range.

    Source: Hu et al. 2021, 2106.09685.
    """
    if rank < 1:
        raise ValueError(f"got a LoRA rank of {rank}; it must be positive, or leave LoRA out")
    if not 0 <= dropout < 1:
        raise ValueError(f"got dropout={dropout}; it must be at least 0 and below 1")
    need_peft()
    from peft import LoraConfig

    return LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        **options,
    )


def begin_lora(
    source: str | Path, rank: int, *, targets: str | Sequence[str], dropout: float, seed: int
) -> Any:
    """A language model in which only new LoRA matrices are learnt; they are drawn by the seed.

    Args:
        source: the model, a folder or a Hub id.
        rank: see ``lora_config``, like ``targets`` and ``dropout``, and what is raised.
        targets: names of layers.
        dropout: of the matrices' input.
        seed: of torch's, numpy's and Python's random state, which is set.
    """
    config = lora_config(rank, targets=targets, dropout=dropout, task_type="CAUSAL_LM")
    from peft import get_peft_model

    set_seed(seed)
    return get_peft_model(load_base(source).train(), config)


def merged(model: Any) -> Any:
    """The plain model with its LoRA matrices added to its weights; one without comes back as is."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model


def load_base(source: str | Path) -> Any:
    """The model that adapters are trained on, known by its whole path: they name it in turn."""
    whole = str(Path(source).resolve()) if Path(source).is_dir() else str(source)
    return load_checkpoint(AutoModelForCausalLM, whole)
