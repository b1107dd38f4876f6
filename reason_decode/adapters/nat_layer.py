"""NAT inside peft's LoRA layers; imported only when it is used, since it needs peft.

peft lets a config choose how an adapter's forward pass goes (a ``LoraVariant``). Ours reads the
other, negative adapter of the same layer, as peft's own Arrow reads its experts.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora.layer import LoraLayer, LoraVariant
from torch import Tensor, nn

from reason_decode.adapters.nat_unit import Branch, Unit, integrate

__all__ = ["KIND", "NatConfig", "digest", "layers_with", "make_nat_layers"]

KIND = "NAT: load it with reason_decode.adapters.load_nat"
"""What a saved config says it is. peft knows no such type: it raises KeyError with this text, where
a LoRA config would load the matrices, drop the unit with a warning, and give wrong logits."""

_SAVED = ("r", "lora_alpha", "lora_dropout", "base_model_name_or_path")
_PARTS = ("lora_nat_q", "lora_nat_k", "lora_nat_v1", "lora_nat_v2")


@dataclass
class NatConfig(LoraConfig):
    """A LoRA adapter that is integrated with a negative one.

    Args:
        nat: ``dim`` and ``beta`` of the unit, the name of the ``negative`` adapter and its
            ``negative_sha256``; empty means plain LoRA.
    """

    nat: dict[str, Any] = field(default_factory=dict, metadata={"is_lora_variant": True})

    def to_dict(self) -> dict[str, Any]:
        """What is saved: what ``load_nat`` needs, under a type that stock peft refuses."""
        saved = {name: getattr(self, name) for name in _SAVED}
        return {**saved, "nat": self.nat, "peft_type": KIND}


@cache
def _nat_class(kind: Any) -> Any:
    """A class of LoRA layers that takes ``NatConfig`` beside every config that ``kind`` takes."""

    def resolve(self: Any, *, config: LoraConfig, **kwargs: Any) -> LoraVariant | None:
        if isinstance(config, NatConfig) and config.nat:
            return NatVariant()
        return kind.resolve_lora_variant(self, config=config, **kwargs)

    return type(f"Nat{kind.__name__}", (kind,), {"resolve_lora_variant": resolve})


def layers_with(model: nn.Module, adapter: str) -> dict[str, Any]:
    """The LoRA layers that have an adapter, by their names in the model."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, LoraLayer)
        and (adapter in layer.lora_A or adapter in layer.lora_embedding_A)
    }


def make_nat_layers(model: nn.Module, adapter: str) -> None:
    """Let the layers that have an adapter take ``NatConfig``, in place; weights stay as they are.

    The class is changed rather than registered with a config, so that quantised layers keep peft's
    class for them, and a stock adapter that is there already need not know.
    """
    for layer in layers_with(model, adapter).values():
        if not hasattr(layer, "nat_options"):
            layer.__class__ = _nat_class(type(layer))
            layer.nat_options = {}


class NatVariant(LoraVariant):
    """What peft asks of a variant."""

    def supports_lora_conversion(self) -> bool:
        """No: its weights depend on the token."""
        return False

    @staticmethod
    def init(module: Any, adapter_name: str, config: Any = None, **kwargs: Any) -> None:
        """Add the unit to a layer; its last map is zero, so that the layer says what it said."""
        if not hasattr(module, _PARTS[0]):
            # peft moves, freezes and deletes what stands under these names.
            module.adapter_layer_names = (*module.adapter_layer_names, *_PARTS)
            for part in _PARTS:
                setattr(module, part, nn.ModuleDict())
        dim, wide, out = config.nat["dim"], module.in_features, module.out_features
        # Of grouped-query and MLP layers the output is not as wide as the input.
        shapes = ((wide, dim), (out, dim), (out, dim), (dim, out))
        beside = module.lora_A[adapter_name].weight
        for part, (inputs, outputs) in zip(_PARTS, shapes, strict=True):
            linear = nn.Linear(inputs, outputs, bias=False)
            if part == _PARTS[-1]:
                nn.init.zeros_(linear.weight)
            getattr(module, part)[adapter_name] = linear.to(beside.device, beside.dtype)
        module.nat_options[adapter_name] = config.nat

    @staticmethod
    def forward(
        module: Any, active_adapter: str, x: Tensor, result: Tensor, **kwargs: Any
    ) -> Tensor:
        """The layer's output, ``integrate`` of both adapters; see there.

        Raises:
            ValueError: the negative adapter is gone.
        """
        options = module.nat_options[active_adapter]
        negative = options["negative"]
        if negative not in module.lora_A:
            raise ValueError(
                f"the NAT adapter {active_adapter!r} needs the negative adapter {negative!r}; this "
                f"model has only {', '.join(module.lora_A)}. Load both with load_nat"
            )
        unit = Unit(*(getattr(module, part)[active_adapter].weight for part in _PARTS))
        return integrate(
            result,
            x,
            _branch(module, active_adapter, module.lora_dropout[active_adapter](x)),
            # Frozen, and so without dropout: the unit sees the negative that it will see later.
            _branch(module, negative, x),
            unit._replace(beta=options["beta"]),
        )

    @staticmethod
    def merge_safe(module: Any, active_adapter: str, orig_weight: Tensor) -> Tensor:
        """Raise: it cannot be merged."""
        raise _unmergeable(active_adapter)

    @staticmethod
    def merge_unsafe(module: Any, active_adapter: str, orig_weight: Tensor) -> None:
        """Raise: it cannot be merged."""
        raise _unmergeable(active_adapter)

    @staticmethod
    def unmerge(module: Any, active_adapter: str, orig_weight: Tensor) -> Tensor:
        """Raise: it cannot have been merged."""
        raise _unmergeable(active_adapter)


def _branch(module: Any, adapter: str, x: Tensor) -> Branch:
    low = module.lora_A[adapter](x.to(module.lora_A[adapter].weight.dtype))
    return Branch(low * module.scaling[adapter], module.lora_B[adapter].weight)


def _unmergeable(adapter: str) -> ValueError:
    return ValueError(
        f"the NAT adapter {adapter!r} weighs its branches anew for every token and cannot be "
        "merged into the base; distil it into plain LoRA with reason_decode.training.train_nce, "
        "and merge that"
    )


def digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of named tensors, the same in every precision that holds their values."""
    told = hashlib.sha256()
    for name in sorted(tensors):
        told.update(name.encode())
        told.update(tensors[name].detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return told.hexdigest()
