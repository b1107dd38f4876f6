"""Adapters from folders: loading any kind, and summing several into one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reason_decode.adapters.active import require_peft
from reason_decode.adapters.nat import NAT, load_nat

__all__ = ["load_adapter", "sum_adapters"]

_SUM = "default"
"""peft's own name for a single adapter; it is saved where peft and transformers look for it."""


def load_adapter(model: Any, folder: str | Path) -> Any:
    """Load the adapter of a folder onto a model, NAT or any that peft loads, for inference.

    Args:
        model: the transformers model that the adapter was trained on.
        folder: the output of ``train_nat``, ``train_nce``, ``train_baseline`` or peft's own
            ``save_pretrained``.

    Returns:
        A peft model with the adapter active.

    Raises:
        ModuleNotFoundError: peft is not installed.
        FileNotFoundError: the negative adapter of a NAT adapter is missing.
        ValueError: there is no adapter, or it does not fit the model.

    Examples:
        >>> import tempfile
        >>> from reason_decode import tiny
        >>> from reason_decode.training.lora import with_lora
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with_lora(tiny.load().model, rank=2).save_pretrained(folder)
        ...     load_adapter(tiny.load().model, folder).active_adapter
        'default'
    """
    require_peft()
    if (Path(folder) / NAT / "adapter_config.json").is_file():
        return load_nat(model, folder)
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(folder)).eval()


def sum_adapters(model: Any, weights: Mapping[str | Path, float]) -> Any:
    """Load a weighted sum of LoRA adapters as one adapter: ``sum_k w_k B_k A_k``.

    The sum is exact; its rank is the sum of the ranks. ``{positive: 2.0, negative: -1.0}`` is the
    simplest way to use a negative adapter, a control for NAT. ``save_pretrained`` writes the sum as
    plain LoRA.

    Args:
        model: the transformers model that all adapters were trained on.
        weights: folder of an adapter -> its weight; all are plain LoRA on the same layers.

    Returns:
        A peft model whose only adapter is the sum.

    Raises:
        ModuleNotFoundError: peft is not installed.
        ValueError: no adapter, or one that cannot be summed.

    Source: the mode "mix" of the plain layer in Yiwei98/TDG at ca86f56, code/peft_NAT/tuners/
    lora.py, line 375, is ``2 B_pos A_pos - B_neg A_neg``.

    Examples:
        >>> import tempfile
        >>> from reason_decode import tiny
        >>> from reason_decode.training.lora import with_lora
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with_lora(tiny.load().model, rank=2).save_pretrained(folder)
        ...     summed = sum_adapters(tiny.load().model, {folder: 2.0})
        >>> summed.peft_config["default"].r
        2
    """
    require_peft()
    from peft import PeftModel

    if not weights:
        raise ValueError("got no adapter to sum; pass at least one folder with its weight")
    names = [f"part{k}" for k in range(len(weights))]
    summed: Any = model
    for name, folder in zip(names, weights, strict=True):
        if summed is model:
            summed = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
        else:
            summed.load_adapter(str(folder), name)
    summed.add_weighted_adapter(names, [*weights.values()], _SUM, combination_type="cat")
    summed.set_adapter(_SUM)
    for name in names:
        summed.delete_adapter(name)
    return summed.eval()
