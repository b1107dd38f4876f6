"""Reward heads that transformers has no class for."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils.hub import cached_file

from reason_decode.models.checkpoint import checkpoint_errors, load_checkpoint
from reason_decode.models.inputs import input_device
from reason_decode.models.wrapped import has_adapter

__all__ = [
    "apply_head",
    "attach_head",
    "body_with_head",
    "hub_id_or_path",
    "tensors_under",
]

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


def body_with_head(
    path_or_id: str | Path,
    head: nn.Module,
    prefix: str,
    weights: dict[str, Tensor],
    auto: Any = AutoModel,
    **kwargs: Any,
) -> PreTrainedModel:
    """The body of a checkpoint with its own head, in evaluation mode.

    Args:
        path_or_id: a folder or a Hub id, from which ``auto`` loads the body.
        head: the module that the weights are put into.
        prefix: prefix of the head's tensors in the checkpoint.
        weights: the head's tensors, by name without the prefix.
        auto: the Auto class of the body.
        kwargs: passed to ``from_pretrained`` of the Auto class.
    """
    model = load_checkpoint(auto, path_or_id, known_unexpected=(prefix, "lm_head."), **kwargs)
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
