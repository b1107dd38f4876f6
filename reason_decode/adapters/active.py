"""A context in which one adapter of a model is active."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

__all__ = ["active_adapter", "require_peft"]


def require_peft() -> None:
    """Raise an error that names the package to install if peft is missing.

    Raises:
        ModuleNotFoundError: peft is not installed.
    """
    try:
        import peft  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "LoRA needs peft: pip install 'reason-decode[training]'"
        ) from error


@contextmanager
def active_adapter(model: nn.Module, adapter: str) -> Iterator[None]:
    """Context in which one LoRA adapter of a model is active; on exit the old state is restored.

    Nothing is copied, and ``requires_grad`` is restored, too. With gradient checkpointing, do not
    enter it between the forward and the backward pass of another adapter: activations would be
    recomputed with the wrong one.

    Args:
        model: a peft model, or a transformers model with adapters.
        adapter: name of the adapter, such as ``"negative"``.

    Raises:
        ModuleNotFoundError: peft is not installed.
        ValueError: the model has no such adapter, or one is merged into its weights.

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.adapters import active_adapter
        >>> from reason_decode.training.lora import with_lora
        >>> model = with_lora(tiny.load().model, rank=2)
        >>> with model.disable_adapter(), active_adapter(model, "default"):
        ...     layer = model.get_submodule("base_model.model.model.layers.0.mlp.up_proj")
        ...     layer.disable_adapters
        False
    """
    require_peft()
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [x for x in model.modules() if isinstance(x, BaseTunerLayer)]
    _check(layers, adapter)
    before = [(layer, layer.active_adapters, layer.disable_adapters) for layer in layers]
    trainable = {id(x) for x in model.parameters() if x.requires_grad}
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
            # Set it only where it differs: quantized weights refuse even requires_grad_(False).
            if x.requires_grad != (id(x) in trainable):
                x.requires_grad_(id(x) in trainable)


def _check(layers: list[Any], adapter: str) -> None:
    known = {name for layer in layers for name in layer.lora_A} if layers else set()
    if adapter not in known:
        raise ValueError(
            f"got adapter={adapter!r}; the model has {', '.join(sorted(known)) or 'no adapter'}. "
            "Load it first: model.load_adapter(folder, adapter_name)"
        )
    if merged := {name for layer in layers for name in layer.merged_adapters}:
        raise ValueError(
            f"the adapter {', '.join(sorted(merged))} is merged into the base, so no other adapter "
            "can be active; call model.unmerge_adapter() first"
        )
