"""Wearing one adapter of a model for a while, and then again what was worn before."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["active_adapter", "need_peft"]


def need_peft() -> None:
    """Raise, with what to do, if peft is not installed.

    Raises:
        ModuleNotFoundError: it is not.
    """
    try:
        import peft  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "LoRA needs peft: pip install 'reason-decode[training]'"
        ) from error


@contextmanager
def active_adapter(model: nn.Module, adapter: str) -> Iterator[None]:
    """Within, the model is what one LoRA adapter makes of its base; afterwards as it was before.

    Nothing is copied, and nothing learns that did not: ``requires_grad`` is restored. Not for
    between the forward and the backward pass of another adapter where activations are recomputed
    (gradient checkpointing), which would be with the wrong one.

    Args:
        model: peft's around a transformers model, or a transformers model with adapters.
        adapter: its name, ``"negative"`` say.

    Raises:
        ModuleNotFoundError: peft is not installed.
        ValueError: the model has no such adapter, or one is merged into its weights.

    Example:
        >>> from reason_decode import tiny
        >>> from reason_decode.adapters import active_adapter
        >>> from reason_decode.training.lora import with_lora
        >>> model = with_lora(tiny.load().model, rank=2)
        >>> with model.disable_adapter(), active_adapter(model, "default"):
        ...     layer = model.get_submodule("base_model.model.model.layers.0.mlp.up_proj")
        ...     layer.disable_adapters
        False
    """
    need_peft()
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [x for x in model.modules() if isinstance(x, BaseTunerLayer)]
    _check(layers, adapter)
    before = [(layer, layer.active_adapters, layer.disable_adapters) for layer in layers]
    learnt = {id(x) for x in model.parameters() if x.requires_grad}
    try:
        for layer, _, disabled in before:
            if disabled:
                layer.enable_adapters(True)
            layer.set_adapter(adapter, inference_mode=True)
        yield
    finally:
        for layer, active, disabled in before:
            layer.set_adapter(active)
            if disabled:
                layer.enable_adapters(False)
        for x in model.parameters():
            # Of a tensor without gradients (quantised weights) even asking for none may fail.
            if x.requires_grad != (id(x) in learnt):
                x.requires_grad_(id(x) in learnt)


def _check(layers: list[Any], adapter: str) -> None:
    known = {name for layer in layers for name in layer.lora_A} if layers else set()
    if adapter not in known:
        raise ValueError(
            f"got adapter={adapter!r}; the model has {', '.join(sorted(known)) or 'no adapter'}. "
            "Load it first: model.load_adapter(folder, adapter_name)"
        )
    if merged := {name for layer in layers for name in layer.merged_adapters}:
        raise ValueError(
            f"the adapter {', '.join(sorted(merged))} is merged into the base, which no other "
            "adapter can be put on; call model.unmerge_adapter() first"
        )
