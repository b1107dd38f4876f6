"""Models whose state cannot be copied row by row: their rows are read again from the beginning."""

import warnings
from dataclasses import replace

from torch import Tensor
from transformers import PreTrainedModel

from reason_decode.generation.sampling import DecodeBatch

__all__ = ["check_can_reread", "places_by_width", "trimmed", "warn_of_rereading"]


def check_can_reread(strategy_name: str, model: PreTrainedModel, guided: bool) -> None:
    """Warn that every step reads its trajectory again; raise if it cannot.

    Args:
        strategy_name: the strategy's class name, for the messages.
        model: the generator.
        guided: a processor runs the generator a second time (``guidance_scale``).

    Raises:
        ValueError: guidance has a state, too, which no reading makes again.
    """
    if guided:
        raise ValueError(
            f"{strategy_name} got guidance_scale for a {type(model).__name__}, whose "
            "state, and that of the guidance, cannot be copied: drop it, or use BestOfN"
        )
    warn_of_rereading(strategy_name, model, "every step reads its trajectory from the beginning")


def warn_of_rereading(strategy_name: str, model: PreTrainedModel, what: str) -> None:
    """Warn that tokens are read more than once.

    Args:
        strategy_name: the strategy's class name.
        model: the generator.
        what: says which tokens.
    """
    warnings.warn(
        f"{strategy_name} got a {type(model).__name__}, whose state cannot be copied: {what}. The "
        "tokens are counted in cost.prefill",
        stacklevel=3,
    )


def places_by_width(batch: DecodeBatch, n: int) -> list[list[int]]:
    """The places of n copies of each row, grouped by what can be read side by side.

    Rows that are read from their beginning are not padded to a common width: not every recurrent
    model is blind to padding.
    """
    assert batch.widths is not None
    groups: dict[int, list[int]] = {}
    for place in range(len(batch.rows) * n):
        groups.setdefault(batch.widths[place // n], []).append(place)
    return [*groups.values()]


def trimmed(batch: DecodeBatch) -> DecodeBatch:
    """The batch without the columns in front of its rows, which are all of one width."""
    assert batch.widths is not None
    total, width = batch.ids.shape[1], batch.widths[0]
    kwargs = {
        name: x[..., -width:] if isinstance(x, Tensor) and x.shape[-1:] == (total,) else x
        for name, x in batch.model_kwargs.items()
    }
    mask = kwargs.get("attention_mask")
    if mask is not None and bool(mask.all()):
        kwargs["attention_mask"] = None
    return replace(batch, ids=batch.ids[:, -width:], model_kwargs=kwargs)
