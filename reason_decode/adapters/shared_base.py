"""Several models on the weights of one: a generator, a rationale model, a scorer, by adapters."""

from copy import deepcopy
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from transformers import PreTrainedModel

from reason_decode.adapters.active import require_peft

__all__ = ["with_adapter"]

Model = TypeVar("Model", bound=PreTrainedModel)


def with_adapter(model: Model, path_or_id: str | Path) -> Model:
    """A second model with a LoRA adapter that shares the weights of a model.

    Its layers are new objects around the same weights, so only the adapter takes memory. The given
    model stays without the adapter; both may be used in turn or at the same time, each with its own
    caches.

    Args:
        model: the model that the adapter was trained on.
        path_or_id: a folder or a Hub id with ``adapter_config.json``, such as ``reason-decode train
            rationalyst --lora-rank 8 --no-merge-lora`` writes.

    Raises:
        ModuleNotFoundError: peft is not installed.
        OSError: there is no such adapter.
        ValueError: the model has an adapter already, or the adapter is damaged, pickled, or of
            another model.

    Examples:
        >>> import tempfile
        >>> from reason_decode import tiny
        >>> from reason_decode.training.lora import with_lora
        >>> model = tiny.load().model
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with_lora(tiny.load().model, rank=2).save_pretrained(folder)
        ...     adapted = with_adapter(model, folder)
        >>> adapted.get_input_embeddings().weight is model.get_input_embeddings().weight
        True
    """
    require_peft()
    _check_folder(Path(path_or_id))
    if hasattr(model, "peft_config"):
        raise ValueError(
            "got a model that has an adapter; pass the model that both adapters were trained on"
        )
    # A memo of tensors mapped to themselves makes deepcopy share them.
    shared = {id(x): x for x in (*model.parameters(), *model.buffers())}
    adapted = deepcopy(model, shared)
    _load(adapted, path_or_id)
    # The adapter names its base, so both are loaded again from this name.
    adapted.name_or_path = str(path_or_id)
    return adapted.eval()


def _check_folder(folder: Path) -> None:
    """Raise if a folder has no adapter, or one with pickled weights.

    Raises:
        FileNotFoundError: the folder has no adapter.
        ValueError: its weights are pickled.
    """
    if folder.is_dir() and not (folder / "adapter_config.json").is_file():
        raise FileNotFoundError(
            f"no adapter in {folder}: it has no adapter_config.json, as save_pretrained of a peft "
            "model writes"
        )
    if (folder / "adapter_model.bin").is_file() and not (
        folder / "adapter_model.safetensors"
    ).is_file():
        raise ValueError(
            f"got no safetensors in {folder}; pickled weights (adapter_model.bin) are not read, "
            "for they can run code: save the adapter again with peft where you trust it"
        )


def _load(model: PreTrainedModel, path_or_id: str | Path) -> None:
    """Load an adapter by transformers; errors name it."""
    try:
        model.load_adapter(str(path_or_id))
    except OSError as error:
        raise OSError(f"no adapter {path_or_id}: {str(error).splitlines()[0]}") from error
    except (ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        why = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"the adapter in {path_or_id} cannot be loaded ({type(error).__name__}: {why}); it is "
            f"damaged, or was not trained on such a {type(model).__name__}"
        ) from error
