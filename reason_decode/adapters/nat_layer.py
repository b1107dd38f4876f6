"""NAT inside peft's LoRA layers; imported only when it is used, since it needs peft.

peft lets the config of an adapter choose how its forward pass is computed (a ``LoraVariant``). Ours
also reads the negative adapter of the same layer, as peft's own Arrow reads its experts.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora.layer import LoraLayer, LoraVariant
from torch import Tensor, nn

from reason_decode.adapters.nat_gate import GateWeights, LoraBranch, gated_output

__all__ = ["PEFT_TYPE", "NatLoraConfig", "layers_with", "make_nat_layers", "sha256_of"]

PEFT_TYPE = "NAT: load it with reason_decode.adapters.load_nat"
"""The ``peft_type`` of a saved config. peft does not know it and raises a KeyError with this text.
With the type LORA it would load the matrices, drop the gate with a warning, and compute wrong
logits."""

_SAVED = ("r", "lora_alpha", "lora_dropout", "base_model_name_or_path")
_PARTS = ("lora_nat_q", "lora_nat_k", "lora_nat_v1", "lora_nat_v2")


@dataclass
class NatLoraConfig(LoraConfig):
    """peft's config of a LoRA adapter that a gate mixes with a negative one.

    Args:
        nat: ``dim`` and ``beta`` of the gate, the name of the ``negative`` adapter and its
            ``negative_sha256``; empty for plain LoRA.
    """

    nat: dict[str, Any] = field(default_factory=dict, metadata={"is_lora_variant": True})

    def to_dict(self) -> dict[str, Any]:
        """The saved settings: what ``load_nat`` needs, with a type that stock peft refuses."""
        saved = {name: getattr(self, name) for name in _SAVED}
        return {**saved, "nat": self.nat, "peft_type": PEFT_TYPE}


@cache
def _nat_class(layer_class: Any) -> Any:
    """A subclass of a LoRA layer class that also accepts ``NatLoraConfig``."""

    def resolve(self: Any, *, config: LoraConfig, **kwargs: Any) -> LoraVariant | None:
        if isinstance(config, NatLoraConfig) and config.nat:
            return NatVariant()
        return layer_class.resolve_lora_variant(self, config=config, **kwargs)

    name = f"Nat{layer_class.__name__}"
    return type(name, (layer_class,), {"resolve_lora_variant": resolve})


def layers_with(model: nn.Module, adapter: str) -> dict[str, Any]:
    """The LoRA layers of a model that have an adapter, by name.

    Args:
        model: a model with peft layers.
        adapter: name of the adapter.
    """
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, LoraLayer)
        and (adapter in layer.lora_A or adapter in layer.lora_embedding_A)
    }


def make_nat_layers(model: nn.Module, adapter: str) -> None:
    """Make the layers that have an adapter accept ``NatLoraConfig``, in place; weights are kept.

    Their class is changed, rather than one registered with a config, so that quantized layers keep
    peft's class for them, and adapters that are there already need no change.

    Args:
        model: a model with peft layers.
        adapter: name of the adapter.
    """
    for layer in layers_with(model, adapter).values():
        if not hasattr(layer, "nat_options"):
            layer.__class__ = _nat_class(type(layer))
            layer.nat_options = {}


class NatVariant(LoraVariant):
    """The forward pass of NAT, in the form that peft asks of a LoRA variant."""

    def supports_lora_conversion(self) -> bool:
        """False: its weights depend on the token."""
        return False

    @staticmethod
    def init(module: Any, adapter_name: str, config: Any = None, **kwargs: Any) -> None:
        """Add the gate to a layer; its outer weights are 0, so the output is unchanged at first."""
        if not hasattr(module, _PARTS[0]):
            # peft moves, freezes and deletes the modules that it finds under these names.
            module.adapter_layer_names = (*module.adapter_layer_names, *_PARTS)
            for part in _PARTS:
                setattr(module, part, nn.ModuleDict())
        # In grouped-query attention and MLPs the output is not as wide as the input.
        dim, d_in, d_out = config.nat["dim"], module.in_features, module.out_features
        shapes = ((d_in, dim), (d_out, dim), (d_out, dim), (dim, d_out))
        like = module.lora_A[adapter_name].weight
        for part, (inputs, outputs) in zip(_PARTS, shapes, strict=True):
            linear = nn.Linear(inputs, outputs, bias=False)
            if part == _PARTS[-1]:
                nn.init.zeros_(linear.weight)
            getattr(module, part)[adapter_name] = linear.to(like.device, like.dtype)
        module.nat_options[adapter_name] = config.nat

    @staticmethod
    def forward(
        module: Any, active_adapter: str, x: Tensor, result: Tensor, **kwargs: Any
    ) -> Tensor:
        """The output of a layer, ``gated_output`` of both adapters.

        Raises:
            ValueError: the negative adapter was deleted.
        """
        options = module.nat_options[active_adapter]
        negative = options["negative"]
        if negative not in module.lora_A:
            raise ValueError(
                f"the NAT adapter {active_adapter!r} needs the negative adapter {negative!r}; this "
                f"model has only {', '.join(module.lora_A)}. Load both with load_nat"
            )
        gate = GateWeights(*(getattr(module, part)[active_adapter].weight for part in _PARTS))
        return gated_output(
            result,
            x,
            _branch(module, active_adapter, module.lora_dropout[active_adapter](x)),
            # Without dropout: it is frozen, so the gate learns the outputs that it will get later.
            _branch(module, negative, x),
            gate._replace(beta=options["beta"]),
        )

    @staticmethod
    def merge_safe(module: Any, active_adapter: str, orig_weight: Tensor) -> Tensor:
        """Raise: NAT cannot be merged."""
        raise _unmergeable(active_adapter)

    @staticmethod
    def merge_unsafe(module: Any, active_adapter: str, orig_weight: Tensor) -> None:
        """Raise: NAT cannot be merged."""
        raise _unmergeable(active_adapter)

    @staticmethod
    def unmerge(module: Any, active_adapter: str, orig_weight: Tensor) -> Tensor:
        """Raise: NAT cannot have been merged."""
        raise _unmergeable(active_adapter)


def _branch(module: Any, adapter: str, x: Tensor) -> LoraBranch:
    low = module.lora_A[adapter](x.to(module.lora_A[adapter].weight.dtype))
    return LoraBranch(low * module.scaling[adapter], module.lora_B[adapter].weight)


def _unmergeable(adapter: str) -> ValueError:
    return ValueError(
        f"the NAT adapter {adapter!r} weighs its branches for each token and cannot be merged into "
        "the base; distill it into plain LoRA with reason_decode.training.train_nce, and merge that"
    )


def sha256_of(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of named tensors as float32, so that it is the same in every dtype that holds them.

    Args:
        tensors: name -> tensor.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        values = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()
