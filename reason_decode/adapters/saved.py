"""Adapters from folders: whichever kind was saved, and several added up."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reason_decode.adapters.active import need_peft
from reason_decode.adapters.nat import NAT, load_nat

__all__ = ["load_adapted", "sum_adapters"]

_SUM = "default"
"""peft's own name for the only adapter: it is saved where stock loaders look."""


def load_adapted(model: Any, folder: str | Path) -> Any:
    """A model with the adapter of a folder active, NAT or any that peft loads; it does not learn.

    Args:
        model: the transformers model that it was trained on.
        folder: what ``train_nat``, ``train_nce``, ``train_baseline`` or peft's own
            ``save_pretrained`` wrote.

    Raises:
        ModuleNotFoundError: peft is not installed.
        FileNotFoundError: the negative adapter of a NAT one is missing.
        ValueError: there is no adapter, or it does not fit.

    Example:
        >>> import tempfile
        >>> from reason_decode import tiny
        >>> from reason_decode.training.lora import with_lora
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with_lora(tiny.load().model, rank=2).save_pretrained(folder)
        ...     load_adapted(tiny.load().model, folder).active_adapter
        'default'
    """
    need_peft()
    if (Path(folder) / NAT / "adapter_config.json").is_file():
        return load_nat(model, folder)
    from peft import PeftModel

    return PeftModel.from_pretrained(model, str(folder)).eval()


def sum_adapters(model: Any, weights: Mapping[str | Path, float]) -> Any:
    """A model with one LoRA adapter that is a weighted sum of others: ``sum_k w_k B_k A_k``.

    Exact, since ranks are added up. ``{positive: 2.0, negative: -1.0}`` is the plainest way to use
    a negative adapter, a control of NAT. ``save_pretrained`` writes it as stock LoRA.

    Args:
        model: the transformers model that all were trained on.
        weights: of the adapters in folders; all are plain LoRA on the same layers.

    Returns:
        peft's model; the sum is its only adapter.

    Raises:
        ModuleNotFoundError: peft is not installed.
        ValueError: no adapter, or one that cannot be added.

    Source: the mode "mix" of the plain layer in Yiwei98/TDG at ca86f56, code/peft_NAT/tuners/
    lora.py, line 375, is ``2 B_pos A_pos - B_neg A_neg``.

    Example:
        >>> import tempfile
        >>> from reason_decode import tiny
        >>> from reason_decode.training.lora import with_lora
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with_lora(tiny.load().model, rank=2).save_pretrained(folder)
        ...     summed = sum_adapters(tiny.load().model, {folder: 2.0})
        >>> summed.peft_config["default"].r
        2
    """
    need_peft()
    from peft import PeftModel

    if not weights:
        raise ValueError("got no adapter to add up; pass at least one folder with its weight")
    names = [f"part{k}" for k in range(len(weights))]
    whole: Any = model
    for name, folder in zip(names, weights, strict=True):
        if whole is model:
            whole = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
        else:
            whole.load_adapter(str(folder), name)
    whole.add_weighted_adapter(names, [*weights.values()], _SUM, combination_type="cat")
    whole.set_adapter(_SUM)
    for name in names:
        whole.delete_adapter(name)
    return whole.eval()
