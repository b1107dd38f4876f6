"""Tensors of a checkpoint that transformers has no place for, such as a reward head."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils.hub import cached_file

from reason_decode.models.checkpoint import checkpoint_errors, load_checkpoint
from reason_decode.models.devices import input_device

_INDEX, _WHOLE = "model.safetensors.index.json", "model.safetensors"


def tensors_under(path_or_id: str | Path, prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, which is taken off.

    Args:
        path_or_id: a folder or a Hub id with safetensors, in one file or several.
        prefix: such as ``"v_head.summary."``.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: the checkpoint has no safetensors, damaged ones, or no such tensor.
    """
    found: dict[str, Tensor] = {}
    with checkpoint_errors(path_or_id):
        for file in _files(str(path_or_id), prefix):
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # it is no dict
                    if name.startswith(prefix):
                        found[name.removeprefix(prefix)] = tensors.get_tensor(name)
    if not found:
        raise ValueError(
            f"got no tensor {prefix}* in {path_or_id}; the checkpoint is of another format: pass "
            "its name as format="
        )
    return found


def body_with_head(
    path_or_id: str | Path,
    head: nn.Module,
    weights: dict[str, Tensor],
    auto: Any = AutoModel,
    **kwargs: Any,
) -> PreTrainedModel:
    """A body and its head, from a checkpoint.

    Args:
        path_or_id: a folder or a Hub id, which ``auto`` reads the body of.
        head: what is to be given the weights.
        weights: by name.
        auto: the Auto class.
        kwargs: passed to its ``from_pretrained``.
    """
    model = load_checkpoint(auto, path_or_id, **kwargs)
    head.load_state_dict(weights)
    attach_head(model, head.eval())
    return model


def attach_head(model: PreTrainedModel, head: nn.Module) -> None:
    """Put a head on a body, one module so that both move to a device together."""
    model.add_module("reward_head", head.to(input_device(model), model.dtype))


def apply_head(model: PreTrainedModel, features: Tensor) -> Tensor:
    """What the head that ``attach_head`` put on a body says of features (k, h)."""
    head = model.get_submodule("reward_head")
    # Of a body on several devices the last layer need not be where the head is.
    return head(features.to(next(head.parameters()).device))


def output_layer(model: PreTrainedModel) -> tuple[Tensor, Tensor | None]:
    """The output matrix (v, h) of a language model and its bias (v,), if it has one.

    Raises:
        ValueError: there is none, or it is kept elsewhere, to be brought in when its layer is
            called; rows of it are read here.
    """
    output: Any = model.get_output_embeddings()
    if output is None:
        raise ValueError(
            f"got a {type(model).__name__}, which has no output layer; pass a causal language "
            "model, as AutoModelForCausalLM loads it"
        )
    if output.weight.is_meta:
        raise ValueError(
            f"got a {type(model).__name__} whose output layer is offloaded; its rows are read one "
            "by one: keep that layer on a device, as device_map={..., 'lm_head': 'cpu'} does"
        )
    return output.weight, getattr(output, "bias", None)


class Output(NamedTuple):
    """How a language model makes logits: ``cap(scale * hidden @ weight.T + bias)``.

    Attributes:
        weight: (v, h).
        bias: (v,) or ``None``.
        softcap: bound on the magnitude of a logit, or ``None``.
        scale: of the hidden states.
    """

    weight: Tensor
    bias: Tensor | None
    softcap: float | None
    scale: float

    def scaled(self, hidden: Tensor) -> Tensor:
        """Last hidden states (t, h) as ``weight`` takes them, and where it is."""
        hidden = hidden.to(self.weight.device)
        return hidden if self.scale == 1.0 else hidden * self.scale


def lm_head_of(model: PreTrainedModel) -> Output:
    """What stands between a language model's last hidden states and its logits.

    Raises:
        ValueError: as ``output_layer``.
    """
    weight, bias = output_layer(model)
    config: Any = model.config.get_text_config()
    # Granite divides its logits, Cohere multiplies them, Gemma bends them.
    scale = getattr(config, "logit_scale", 1.0) / getattr(config, "logits_scaling", 1.0)
    return Output(weight, bias, getattr(config, "final_logit_softcapping", None), scale)


def hub_id_or_path(model: PreTrainedModel) -> str:
    """Where a model was loaded from: a folder, as an absolute path, or a Hub id.

    Raises:
        ValueError: it was not loaded from anywhere.
    """
    source = model.name_or_path
    if not source:
        raise ValueError(
            f"got a {type(model).__name__} that was loaded from nowhere, so nothing can name it; "
            "save it, and load it again with from_pretrained"
        )
    return str(Path(source).resolve()) if Path(source).is_dir() else source


def _files(path_or_id: str, prefix: str) -> list[str]:
    """The files that may hold the tensors; of several, those that the index names."""
    index = _file(path_or_id, _INDEX)
    if index is not None:
        places = json.loads(Path(index).read_text())["weight_map"]
        names = {file for name, file in places.items() if name.startswith(prefix)}
        return [str(cached_file(path_or_id, name)) for name in sorted(names)]
    whole = _file(path_or_id, _WHOLE)
    if whole is None:
        raise ValueError(
            f"got no safetensors in {path_or_id}; pickled weights are not read: convert them with "
            "save_pretrained"
        )
    return [whole]


def _file(path_or_id: str, name: str) -> str | None:
    """Where a file of a checkpoint lies, fetched if need be; ``None`` if there is none."""
    try:
        return cached_file(path_or_id, name)
    except OSError:
        return None
