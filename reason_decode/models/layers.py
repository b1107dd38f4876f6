"""The first layers of a model."""

from typing import Any

from torch import nn

__all__ = ["keep_layers"]


def keep_layers(model: Any, count: int | None) -> None:
    """Remove all layers of a decoder or an encoder but the first so many.

    The norm after the last layer stays, and follows the last one that is left. The config says the
    new number, so that a saved model loads with as many.

    Args:
        model: a transformers model; it is changed.
        count: the number of layers to keep; ``None`` for all.

    Raises:
        ValueError: the model has fewer, or its layers are not found.
    """
    if count is None:
        return
    config = model.config.get_text_config()
    held = config.num_hidden_layers
    found = [
        (parent, name, layers)
        for parent in model.base_model.modules()
        for name, layers in parent.named_children()
        if isinstance(layers, nn.ModuleList) and len(layers) == held
    ]
    if len(found) != 1 or not 1 <= count <= held:
        raise ValueError(
            f"got layer={count} for {type(model).__name__} with {held} layers"
            + ("" if len(found) == 1 else ", which are not in one list")
            + f"; allowed are 1 to {held}, of a model with one list of layers"
        )
    parent, name, layers = found[0]
    setattr(parent, name, layers[:count])
    # Such as layer_types: what kind of attention each layer has.
    for key, value in config.to_dict().items():
        if isinstance(value, list) and len(value) == held and hasattr(config, key):
            setattr(config, key, value[:count])
    config.num_hidden_layers = count
