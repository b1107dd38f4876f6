"""NAT adapters: a negative LoRA, a positive LoRA, and a learned gate that mixes both per token."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from reason_decode.adapters.active import require_peft

__all__ = ["NAT", "NEGATIVE", "add_nat", "load_nat"]

NAT, NEGATIVE = "nat", "negative"
_WEIGHTS = "adapter_model.safetensors"


def add_nat(
    model: Any,
    *,
    rank: int = 8,
    gate_dim: int = 128,
    beta: float = 0.5,
    dropout: float = 0.0,
    negative: str = NEGATIVE,
    name: str = NAT,
) -> None:
    """Add a NAT adapter to a model that has a negative adapter, and make it active and trainable.

    ``y = base + w_pos v(h_pos) + w_neg v(h_neg)`` in each layer that has the negative adapter; see
    ``gated_output``. Before training ``y = base``. All other weights are frozen.
    ``model.save_pretrained(folder)`` writes both adapters, each in a folder of its name, for
    ``load_nat``.

    Args:
        model: a peft model whose linear layers have a plain LoRA adapter.
        rank: rank of the positive LoRA matrices; their scale is 2.
        gate_dim: width of the queries, keys and values of the gate.
        beta: upper bound of the weight of the negative branch; the positive branch weighs at least
            ``1 - beta``.
        dropout: share of the input of the positive branch that is dropped in training.
        negative: name of the adapter that was trained on wrong samples.
        name: name of the new adapter.

    Raises:
        ModuleNotFoundError: peft is not installed.
        ValueError: an argument out of range, a name that is taken, or a negative adapter that does
            not exist or is not plain LoRA on linear layers.

    Source: Li et al. 2024, 2312.12832, equations 4 and 5; Yiwei98/TDG at ca86f56,
    code/peft_NAT/tuners/lora.py, whose gate is 128 wide with a beta of 0.5. Differences: no dropout
    in the negative branch, and a gate for layers of any shape.

    Examples:
        >>> import tempfile
        >>> from peft import LoraConfig, get_peft_model
        >>> from reason_decode import tiny
        >>> from reason_decode.adapters import add_nat
        >>> lora = LoraConfig(target_modules=["v_proj"])
        >>> model = get_peft_model(tiny.load().model, lora, adapter_name="negative")
        >>> add_nat(model, rank=4, gate_dim=16)
        >>> model.active_adapter
        'nat'
    """
    require_peft()
    if rank < 1 or gate_dim < 1 or not 0 <= dropout < 1 or not 0 < beta <= 1:
        raise ValueError(
            f"got rank={rank}, gate_dim={gate_dim}, dropout={dropout}, beta={beta}; rank and "
            "gate_dim are at least 1, the dropout is in [0, 1), beta in (0, 1]"
        )
    _check_negative(model, negative, name)
    from peft import get_peft_model_state_dict

    from reason_decode.adapters.nat_layer import NatLoraConfig, sha256_of

    gate = {
        "dim": gate_dim,
        "beta": beta,
        "negative": negative,
        "negative_sha256": sha256_of(get_peft_model_state_dict(model, adapter_name=negative)),
    }
    config = NatLoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=dropout,
        base_model_name_or_path=model.get_base_model().name_or_path,
        nat=gate,
    )
    _add(model, name, config)


def load_nat(
    model: Any, folder: str | Path, *, negative: str | Path | None = None, trainable: bool = False
) -> Any:
    """Load a NAT adapter and its negative adapter onto a model.

    Args:
        model: the transformers model that both adapters were trained on.
        folder: folder with ``nat`` and ``negative``, as ``train_nat`` writes it.
        negative: folder of the negative adapter, if it is elsewhere.
        trainable: keep the NAT adapter trainable.

    Returns:
        A peft model with the NAT adapter active.

    Raises:
        ModuleNotFoundError: peft is not installed.
        FileNotFoundError: an adapter is missing.
        ValueError: the folder holds no NAT adapter, the negative adapter is not the one that it was
            trained with, or the weights do not fit the model.
    """
    require_peft()
    from peft import PeftModel, set_peft_model_state_dict

    from reason_decode.adapters.nat_layer import NatLoraConfig

    saved = _read_config(Path(folder) / NAT)
    saved.pop("peft_type")
    gate = saved["nat"]
    negative_folder = Path(folder) / gate["negative"] if negative is None else Path(negative)
    _check_saved_negative(negative_folder, gate)
    tensors = load_file(Path(folder) / NAT / _WEIGHTS)
    loaded = PeftModel.from_pretrained(model, str(negative_folder), adapter_name=gate["negative"])
    _check_negative(loaded, gate["negative"], NAT)
    _add(loaded, NAT, NatLoraConfig(**saved))
    keys = set_peft_model_state_dict(loaded, tensors, adapter_name=NAT)
    missing = [key for key in keys.missing_keys if f".{NAT}." in key]
    if missing or keys.unexpected_keys:
        raise ValueError(
            f"{Path(folder) / NAT} lacks {missing[:3]} and has {keys.unexpected_keys[:3]}; it is "
            "of another model or damaged: pass the base that it was trained on"
        )
    if not trainable:
        loaded.set_adapter(NAT, inference_mode=True)
    return loaded.train(trainable)


def _add(model: Any, name: str, config: Any) -> None:
    """Add the adapter to exactly the layers that have the negative one."""
    from reason_decode.adapters.nat_layer import layers_with, make_nat_layers

    negative, base = config.nat["negative"], model.get_base_model()
    # Full names, since a pattern that chose the negative's layers may match others, too.
    config.target_modules = set(layers_with(base, negative))
    make_nat_layers(base, negative)
    model.add_adapter(name, config)
    model.set_adapter(name)


def _check_negative(model: Any, negative: str, name: str) -> None:
    """Raise if the negative adapter is not plain LoRA on linear layers, or the name is taken."""
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
    unsupported = [
        option
        for option in ("modules_to_save", "trainable_token_indices", "lora_bias", "use_dora")
        if getattr(config, option, None)
    ]
    if any(
        negative in layer.lora_variant or negative in layer.lora_embedding_A for layer in layers
    ):
        unsupported.append("a variant, or embeddings")
    biases = getattr(config, "bias", "none") != "none"
    if not isinstance(config, LoraConfig) or unsupported or biases:
        raise ValueError(
            f"the negative adapter {negative!r} is {type(config).__name__} with "
            f"{', '.join(unsupported) or 'biases'}; NAT needs plain LoRA on linear layers: train "
            "it with reason-decode train negative"
        )


def _layers(model: Any, adapter: str) -> list[Any]:
    from reason_decode.adapters.nat_layer import layers_with

    return list(layers_with(model, adapter).values())


def _read_config(folder: Path) -> dict[str, Any]:
    from reason_decode.adapters.nat_layer import PEFT_TYPE

    path = folder / "adapter_config.json"
    if not path.is_file() or not (folder / _WEIGHTS).is_file():
        raise FileNotFoundError(
            f"no NAT adapter in {folder}; pass the folder that train_nat wrote, which has "
            f"{NAT}/{_WEIGHTS} and {NAT}/{path.name}"
        )
    saved = json.loads(path.read_text())
    if saved.get("peft_type") != PEFT_TYPE:
        raise ValueError(
            f"{path} is the config of a {saved.get('peft_type')} adapter, not of NAT; load it with "
            "peft.PeftModel.from_pretrained"
        )
    return saved


def _check_saved_negative(folder: Path, gate: dict[str, Any]) -> None:
    """Raise if a folder does not hold the negative adapter that the gate was trained with."""
    from reason_decode.adapters.nat_layer import sha256_of

    if not (folder / _WEIGHTS).is_file():
        raise FileNotFoundError(
            f"no negative adapter in {folder}, which NAT needs; pass the folder of the one that it "
            "was trained with: load_nat(..., negative=FOLDER)"
        )
    found = sha256_of(load_file(folder / _WEIGHTS))
    if found != gate["negative_sha256"]:
        raise ValueError(
            f"the negative adapter in {folder} has SHA-256 {found[:12]}..., NAT was trained with "
            f"{gate['negative_sha256'][:12]}...; pass that one as negative="
        )
