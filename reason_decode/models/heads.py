"""Reward heads that transformers has no class for."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils.hub import cached_file

from reason_decode.models.checkpoint import checkpoint_errors, load_checkpoint
from reason_decode.models.inputs import input_device
from reason_decode.models.wrapped import has_adapter

__all__ = [
    "EnsembleHead",
    "apply_head",
    "attach_head",
    "body_with_head",
    "head_shapes",
    "hub_id_or_path",
    "make_head",
    "tensors_under",
]

_HEADS = ("score.", "v_head.", "score_head.")
_INDEX, _SINGLE_FILE = "model.safetensors.index.json", "model.safetensors"


def tensors_under(path_or_id: str | Path, prefix: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint whose names begin with a prefix, by name without the prefix.

    Args:
        path_or_id: a folder or a Hub id with safetensors, in one file or several.
        prefix: such as ``"v_head.summary."``.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: the checkpoint has no safetensors, damaged ones, or no such tensor.
    """
    found: dict[str, Tensor] = {}
    with checkpoint_errors(path_or_id):
        for file in _files_with(str(path_or_id), prefix):
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


def head_shapes(path_or_id: str | Path) -> dict[str, tuple[int, ...]]:
    """Shapes of a checkpoint's tensors that belong to a reward head, by name.

    Without safetensors there are none.

    Args:
        path_or_id: a folder or a Hub id.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: the safetensors are damaged.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    with checkpoint_errors(path_or_id):
        for prefix in _HEADS:
            try:
                files = _files_with(str(path_or_id), prefix)
            except ValueError:
                return {}
            for file in files:
                with safe_open(file, framework="pt") as tensors:
                    for name in tensors.keys():  # it is no dict
                        if name.startswith(prefix):
                            shapes[name] = tuple(tensors.get_slice(name).get_shape())
    return shapes


class EnsembleHead(nn.Module):
    """Several small networks side by side, with ReLU between their layers: (k, h) to (k, e).

    Args:
        layers: weight (e, in, out) and bias (e, out), or ``None``, of each layer; the last has one
            output.
    """

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor | None]]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(weight for weight, _ in layers)
        biases = [torch.zeros(w.shape[0], w.shape[2]) if b is None else b for w, b in layers]
        self.biases = nn.ParameterList(b.reshape(len(b), 1, -1) for b in biases)

    def forward(self, hidden: Tensor) -> Tensor:
        """The output of each network."""
        x = hidden.expand(len(self.weights[0]), *hidden.shape)
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.bmm(x.relu() if k else x, weight) + bias
        return x[..., 0].T


def make_head(weights: Mapping[str, Tensor]) -> nn.Module:
    """The head with these weights; their names and shapes tell its layers.

    - ``weight``, ``bias``: a linear layer
    - ``0.weight``, ``0.bias``, ``2.weight``, ...: linear layers with ReLU between them
    - ``model.nn1.weight``, ``model.nn2.weight``, ...: an ensemble, see ``EnsembleHead``

    Args:
        weights: tensors by name.

    Raises:
        ValueError: the names are others.

    Source: the ensemble: sail/ActPRM (Duan et al. 2025, 2504.10559).
    """
    if set(weights) <= {"weight", "bias"}:
        return _linear(weights, "")
    first = sorted({name.partition(".")[0] for name in weights})
    if all(number.isdecimal() for number in first):
        numbers = sorted(map(int, first))
        layers = [_linear(weights, f"{number}.") for number in numbers]
        between = [x for layer in layers for x in (nn.ReLU(), layer)]
        return nn.Sequential(*between[1:])
    ensemble: dict[str, list[Tensor]] = {}
    for name in sorted(weights):
        if name.startswith("model."):
            ensemble.setdefault(name.split(".")[1], []).append(weights[name])
    found = [_ensemble_layer(ensemble[name]) for name in sorted(ensemble)]
    if not found or any(layer is None for layer in found):
        raise ValueError(
            f"got a reward head of {', '.join(sorted(weights))}, whose layers are not known; "
            "allowed are a linear layer, linear layers with ReLU between them, and an ensemble of "
            "such"
        )
    return EnsembleHead([layer for layer in found if layer is not None])


def _linear(weights: Mapping[str, Tensor], prefix: str) -> nn.Linear:
    weight, bias = weights[f"{prefix}weight"], weights.get(f"{prefix}bias")
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    return layer


def _ensemble_layer(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor | None] | None:
    """Weight and bias among a layer's tensors; ``None`` if it is no layer of an ensemble."""
    weight = max(tensors, key=lambda x: (x.dim(), x.numel()))
    rest = [x for x in tensors if x is not weight]
    if weight.dim() != 3 or len(rest) > 1:
        return None
    return weight, rest[0] if rest else None


def body_with_head(
    path_or_id: str | Path,
    head: nn.Module,
    prefix: str,
    weights: dict[str, Tensor] | None = None,
    auto: Any = AutoModel,
    **kwargs: Any,
) -> PreTrainedModel:
    """The body of a checkpoint with its own head, in evaluation mode.

    Args:
        path_or_id: a folder or a Hub id, from which ``auto`` loads the body.
        head: the module that the weights are put into.
        prefix: prefix of the head's tensors in the checkpoint.
        weights: the head's tensors, by name without the prefix; ``None`` if the head has them.
        auto: the Auto class of the body.
        kwargs: passed to ``from_pretrained`` of the Auto class.
    """
    model = load_checkpoint(auto, path_or_id, known_unexpected=(prefix, "lm_head."), **kwargs)
    if weights is not None:
        head.load_state_dict(weights)
    attach_head(model, head.eval())
    return model


def attach_head(model: PreTrainedModel, head: nn.Module) -> None:
    """Make a head a part of a body, so that both move to a device together."""
    model.add_module("reward_head", head.to(input_device(model), model.dtype))


def apply_head(model: PreTrainedModel, features: Tensor) -> Tensor:
    """The outputs of the head that ``attach_head`` put on a body.

    Args:
        model: the body.
        features: hidden states, (k, h).
    """
    head = model.get_submodule("reward_head")
    # If the body is on several devices, its last layer need not be on the head's.
    return head(features.to(next(head.parameters()).device))


def hub_id_or_path(model: PreTrainedModel) -> str:
    """The absolute folder or the Hub id that a model was loaded from.

    Raises:
        ValueError: it was made in memory, or has an adapter that is not in the folder.
    """
    source = model.name_or_path
    if not source:
        raise ValueError(
            f"got a {type(model).__name__} that was loaded from nowhere, so nothing can name it; "
            "save it, and load it again with from_pretrained"
        )
    folder = Path(source)
    if folder.is_dir() and has_adapter(model) and not (folder / "adapter_config.json").is_file():
        raise ValueError(
            f"got a {type(model).__name__} from {source} with an adapter that is not saved there; "
            "save the adapter, and load it by its own folder"
        )
    return str(folder.resolve()) if folder.is_dir() else source


def _files_with(path_or_id: str, prefix: str) -> list[str]:
    """The files that may hold the tensors of a prefix; of several, those that the index names."""
    index = _file(path_or_id, _INDEX)
    if index is not None:
        files = json.loads(Path(index).read_text())["weight_map"]
        names = {file for name, file in files.items() if name.startswith(prefix)}
        return [str(cached_file(path_or_id, name)) for name in sorted(names)]
    single = _file(path_or_id, _SINGLE_FILE)
    if single is None:
        raise ValueError(
            f"got no safetensors in {path_or_id}; pickled weights are not read: convert them with "
            "save_pretrained"
        )
    return [single]


def _file(path_or_id: str, name: str) -> str | None:
    """Path of a file of a checkpoint, downloaded if necessary; ``None`` if there is none."""
    try:
        return cached_file(path_or_id, name)
    except OSError:
        return None
