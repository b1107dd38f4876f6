"""NAT: a negative LoRA, a positive one, and a learned unit that weighs them, on one base model."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from reason_decode.adapters.active import need_peft

__all__ = ["NAT", "NEGATIVE", "add_nat", "load_nat"]

NAT, NEGATIVE = "nat", "negative"
_WEIGHTS = "adapter_model.safetensors"


def add_nat(
    model: Any,
    *,
    rank: int = 8,
    dim: int = 128,
    beta: float = 0.5,
    dropout: float = 0.0,
    negative: str = NEGATIVE,
    name: str = NAT,
) -> None:
    """Put a NAT adapter on a model that has a negative one, make it active and alone trainable.

    ``y = base + w_pos v(h_pos) + w_neg v(h_neg)`` in each layer that has the negative adapter; see
    ``integrate``. At first ``y = base``. ``model.save_pretrained(folder)`` writes both adapters,
    each in a folder of its name, for ``load_nat``.

    Args:
        model: peft's, around a model whose linear layers have a plain LoRA adapter.
        rank: of the positive LoRA matrices; their scale is 2.
        dim: width of the unit's queries, keys and values.
        beta: the negative branch weighs at most this much, the positive ``1 - that`` at least.
        dropout: share of the positive branch's input that is dropped in training.
        negative: name of the adapter that was trained on wrong samples; it stays as it is.
        name: of the new adapter.

    Raises:
        ModuleNotFoundError: peft is not installed.
        ValueError: an argument out of range, a name that is taken, or no plain LoRA adapter of
            linear layers under the name of the negative one.

    Source: Li et al. 2024, 2312.12832, equations 4 and 5; Yiwei98/TDG at ca86f56,
    code/peft_NAT/tuners/lora.py, whose unit is 128 wide and beta 0.5. Not as there: the negative is
    without dropout here, and the unit fits layers of any shape.

    Example:
        >>> import tempfile
        >>> from peft import LoraConfig, get_peft_model
        >>> from reason_decode import tiny
        >>> from reason_decode.adapters import add_nat
        >>> lora = LoraConfig(target_modules=["v_proj"])
        >>> model = get_peft_model(tiny.load().model, lora, adapter_name="negative")
        >>> add_nat(model, rank=4, dim=16)
        >>> model.active_adapter
        'nat'
    """
    need_peft()
    if rank < 1 or dim < 1 or not 0 <= dropout < 1 or not 0 < beta <= 1:
        raise ValueError(
            f"got rank={rank}, dim={dim}, dropout={dropout}, beta={beta}; rank and dim are at "
            "least 1, the dropout is in [0, 1), beta in (0, 1]"
        )
    _check_negative(model, negative, name)
    from peft import get_peft_model_state_dict

    from reason_decode.adapters.nat_layer import NatConfig, digest

    unit = {
        "dim": dim,
        "beta": beta,
        "negative": negative,
        "negative_sha256": digest(get_peft_model_state_dict(model, adapter_name=negative)),
    }
    config = NatConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=dropout,
        base_model_name_or_path=model.get_base_model().name_or_path,
        nat=unit,
    )
    _add(model, name, config)


def load_nat(
    model: Any, folder: str | Path, *, negative: str | Path | None = None, trainable: bool = False
) -> Any:
    """A model with the NAT adapter of a folder, and the negative one that belongs to it.

    Args:
        model: the transformers model that both were trained on.
        folder: has ``nat`` and ``negative``, as ``train_nat`` and ``save_pretrained`` write them.
        negative: where the negative adapter is, if not there.
        trainable: whether the NAT adapter can learn on.

    Returns:
        peft's model with the NAT adapter active.

    Raises:
        ModuleNotFoundError: peft is not installed.
        FileNotFoundError: an adapter is missing.
        ValueError: no NAT adapter, another negative one than the one it was trained with, or
            weights that do not belong to the unit.
    """
    need_peft()
    from peft import PeftModel, set_peft_model_state_dict

    from reason_decode.adapters.nat_layer import NatConfig

    saved = _read_config(Path(folder) / NAT)
    saved.pop("peft_type")
    unit = saved["nat"]
    beside = Path(folder) / unit["negative"] if negative is None else Path(negative)
    _check_saved_negative(beside, unit)
    tensors = load_file(Path(folder) / NAT / _WEIGHTS)
    whole = PeftModel.from_pretrained(model, str(beside), adapter_name=unit["negative"])
    _check_negative(whole, unit["negative"], NAT)
    _add(whole, NAT, NatConfig(**saved))
    told = set_peft_model_state_dict(whole, tensors, adapter_name=NAT)
    lost = [key for key in told.missing_keys if f".{NAT}." in key]
    if lost or told.unexpected_keys:
        raise ValueError(
            f"{Path(folder) / NAT} lacks {lost[:3]} and has {told.unexpected_keys[:3]}; it is of "
            "another model or damaged: pass the base that it was trained on"
        )
    if not trainable:
        whole.set_adapter(NAT, inference_mode=True)
    return whole.train(trainable)


def _add(model: Any, name: str, config: Any) -> None:
    """Add the adapter to just the layers that have the negative one."""
    from reason_decode.adapters.nat_layer import layers_with, make_nat_layers

    negative, base = config.nat["negative"], model.get_base_model()
    # By their whole names: just the layers that the negative has, whatever chose them.
    config.target_modules = set(layers_with(base, negative))
    make_nat_layers(base, negative)
    model.add_adapter(name, config)
    model.set_adapter(name)


def _check_negative(model: Any, negative: str, name: str) -> None:
    """Raise unless the negative adapter is plain LoRA on linear layers, and the name is free."""
    from peft import LoraConfig

    adapters = getattr(model, "peft_config", {})
    if not hasattr(model, "get_base_model") or negative not in adapters:
        raise ValueError(
            f"got a model without the negative adapter {negative!r}; it has "
            f"{', '.join(adapters) or 'none'}. Load it with peft.PeftModel.from_pretrained(model, "
            f"folder, adapter_name={negative!r}), or train it: reason-decode train negative"
        )
    if name in adapters:
        raise ValueError(f"the model has an adapter {name!r} already; choose another name")
    config = adapters[negative]
    layers = _layers(model, negative)
    odd = [
        option
        for option in ("modules_to_save", "trainable_token_indices", "lora_bias", "use_dora")
        if getattr(config, option, None)
    ]
    if any(
        negative in layer.lora_variant or negative in layer.lora_embedding_A for layer in layers
    ):
        odd.append("a variant, or embeddings")
    if not isinstance(config, LoraConfig) or odd or getattr(config, "bias", "none") != "none":
        raise ValueError(
            f"the negative adapter {negative!r} is {type(config).__name__} with "
            f"{', '.join(odd) or 'biases'}; NAT needs plain LoRA on linear layers: train it with "
            "reason-decode train negative"
        )


def _layers(model: Any, adapter: str) -> list[Any]:
    from reason_decode.adapters.nat_layer import layers_with

    return list(layers_with(model, adapter).values())


def _read_config(folder: Path) -> dict[str, Any]:
    from reason_decode.adapters.nat_layer import KIND

    path = folder / "adapter_config.json"
    if not path.is_file() or not (folder / _WEIGHTS).is_file():
        raise FileNotFoundError(
            f"no NAT adapter in {folder}; pass the folder that train_nat wrote, which has "
            f"{NAT}/{_WEIGHTS} and {NAT}/{path.name}"
        )
    saved = json.loads(path.read_text())
    if saved.get("peft_type") != KIND:
        raise ValueError(
            f"{path} is of a {saved.get('peft_type')} adapter, not of NAT; load it with "
            "peft.PeftModel.from_pretrained"
        )
    return saved


def _check_saved_negative(folder: Path, unit: dict[str, Any]) -> None:
    """Raise unless a folder has the very negative adapter that the unit was trained with."""
    from reason_decode.adapters.nat_layer import digest

    if not (folder / _WEIGHTS).is_file():
        raise FileNotFoundError(
            f"no negative adapter in {folder}, without which NAT is nothing; pass "
            "load_nat(..., negative=FOLDER) with the one that it was trained with"
        )
    found = digest(load_file(folder / _WEIGHTS))
    if found != unit["negative_sha256"]:
        raise ValueError(
            f"the negative adapter in {folder} has SHA-256 {found[:12]}..., NAT was trained with "
            f"{unit['negative_sha256'][:12]}...; pass that one as negative="
        )
