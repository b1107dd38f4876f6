"""Learning few weights beside the frozen ones, and folding them in."""

from typing import Any

__all__ = ["merged", "with_lora"]


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
    if rank < 1:
        raise ValueError(f"got a LoRA rank of {rank}; it must be positive, or leave LoRA out")
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "LoRA needs peft: pip install 'reason-decode[training]'"
        ) from error
    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        target_modules="all-linear",
        exclude_modules=head,
        modules_to_save=[head] if head else None,
    )
    return get_peft_model(model, config)


def merged(model: Any) -> Any:
    """The plain model with its LoRA matrices added to its weights; one without comes back as is."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
