"""Loading models and tokenizers from a folder or the Hub: safetensors only, and complete ones."""

import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from reason_decode.models.attention import attention_implementation

__all__ = [
    "ADAPTED_CONFIG",
    "checkpoint_errors",
    "is_adapter",
    "load_checkpoint",
    "load_config",
    "load_tokenizer",
]

_ADAPTER = "adapter_config.json"
ADAPTED_CONFIG = "reason_decode.json"
"""File beside an adapter with what its model's config has more than that of its base."""
# peft's task type -> the class that it adapts, as in the names of peft's models
_TASKS = {
    "TOKEN_CLS": "ForTokenClassification",
    "SEQ_CLS": "ForSequenceClassification",
    "CAUSAL_LM": "ForCausalLM",
}
_WITH_HEAD = (AutoModelForTokenClassification, AutoModelForSequenceClassification)
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
_LAYER = re.compile(r"\b(?:layers|h|blocks)\.(\d+)\.")
_FIRST_LAYER = re.compile(r"\b(?:layers|h|blocks)\.0\.")
_MAX_SHOWN = 5


def load_checkpoint(
    kind: Any,
    path_or_id: str | Path,
    *,
    new_head: bool = False,
    known_unexpected: Sequence[str] = (),
    **kwargs: Any,
) -> Any:
    """``kind.from_pretrained(path_or_id)`` without remote code, pickles or random weights.

    transformers reads pickles if there is nothing else, and fills what a checkpoint lacks with
    random numbers: a reward model without its head would give scores without meaning.

    Args:
        kind: one of transformers' auto classes.
        path_or_id: a local folder, of a model or of a LoRA adapter, or a Hub id.
        new_head: allow that weights outside the body are new and random, as those of a head that is
            to be trained.
        known_unexpected: prefixes of weights that ``kind`` has no place for and that the caller
            reads itself, such as a reward head; transformers' table of unexpected weights is not
            printed for them.
        kwargs: passed to ``from_pretrained``, such as dtype or device_map.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: the checkpoint is damaged, pickled, or of another model than ``kind`` makes.
    """
    if is_adapter(path_or_id) and not new_head and kind in _WITH_HEAD:
        return _load_adapted(kind, Path(path_or_id), **kwargs)
    with checkpoint_errors(path_or_id, gguf_file=kwargs.get("gguf_file")):
        for place in filter(None, (path_or_id, _base_if_adapter(path_or_id))):
            _check_weights(Path(place))
            _check_config(place, kwargs)
        safe = {"trust_remote_code": False, "use_safetensors": True, "output_loading_info": True}
        with _held_load_report() as report:
            model, found = kind.from_pretrained(
                path_or_id, **(kwargs | safe | {"ignore_mismatched_sizes": True})
            )
    prefixes = tuple(known_unexpected)
    known = all(name.startswith(prefixes) for name in found["unexpected_keys"])
    if found["missing_keys"] or found["mismatched_keys"] or not known:
        report.release()
    body = f"{model.base_model_prefix}." if new_head else ""
    if other := sorted(x for x in found["mismatched_keys"] if x[0].startswith(body)):
        name, held, made = other[0]
        raise ValueError(
            f"the weights in {path_or_id} do not fit its config.json: {name} is {tuple(held)} "
            f"there and {tuple(made)} by the config ({len(other)} such); take both from one save"
        )
    if missing := sorted(x for x in found["missing_keys"] if x.startswith(body)):
        shown = ", ".join(missing[:_MAX_SHOWN]) + (", ..." if len(missing) > _MAX_SHOWN else "")
        raise ValueError(
            f"{path_or_id} lacks {len(missing)} weights of a {type(model).__name__} ({shown}), "
            "which would be random numbers; it is a checkpoint of another kind, or was not saved "
            "whole"
        )
    if any(map(_FIRST_LAYER.search, found["unexpected_keys"])):
        raise ValueError(
            f"{path_or_id} has weights of layers, and a config.json without any; take both from "
            "one save"
        )
    if is_adapter(path_or_id):
        # transformers names such a model after its base.
        model.name_or_path = str(path_or_id)
    return model


class _LoadReport(logging.Filter):
    """Holds back transformers' table of missing and unexpected weights, in the current thread."""

    logger = logging.getLogger("transformers.modeling_utils")

    def __init__(self) -> None:
        super().__init__()
        self.thread, self.held = threading.get_ident(), list[logging.LogRecord]()

    def filter(self, record: logging.LogRecord) -> bool:
        """True if a record is printed now."""
        if record.thread != self.thread or "LOAD REPORT" not in record.getMessage():
            return True
        self.held.append(record)
        return False

    def release(self) -> None:
        """Print the table after all."""
        for record in self.held:
            self.logger.handle(record)


@contextmanager
def _held_load_report() -> Iterator[_LoadReport]:
    report = _LoadReport()
    report.logger.addFilter(report)
    try:
        yield report
    finally:
        report.logger.removeFilter(report)


def load_config(path_or_id: str | Path) -> Any:
    """The config of a checkpoint; of a folder with an adapter that of its base.

    The architecture of an adapter is that of its task type.

    Args:
        path_or_id: a local folder or a Hub id.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: it cannot be read.
    """
    with checkpoint_errors(path_or_id):
        if not is_adapter(path_or_id):
            return AutoConfig.from_pretrained(path_or_id, trust_remote_code=False)
        adapter = _adapter_config(Path(path_or_id))
        config = AutoConfig.from_pretrained(
            adapter["base_model_name_or_path"], trust_remote_code=False
        )
        if (kind := _TASKS.get(str(adapter.get("task_type")))) is not None:
            config.architectures = [f"PeftModel{kind}"]
        config.update(_adapted_config(Path(path_or_id)))
        return config


def is_adapter(path_or_id: str | Path) -> bool:
    """True if a folder holds an adapter and no model."""
    folder = Path(path_or_id)
    return (folder / _ADAPTER).is_file() and not (folder / "config.json").is_file()


def _load_adapted(kind: Any, folder: Path, **kwargs: Any) -> Any:
    """The base of an adapter with a new head, into which the adapter with its head is loaded."""
    base = _base_of(folder)
    with checkpoint_errors(folder):
        with safe_open(folder / "adapter_model.safetensors", framework="pt") as tensors:
            rows = [
                tensors.get_slice(name).get_shape()[0]
                for name in tensors.keys()  # it is no dict
                if name.endswith("score.weight")
            ]
    if not rows:
        raise ValueError(
            f"{folder} holds an adapter of {base!r} without a head (score.weight), which would be "
            "random numbers; save it with modules_to_save=['score']"
        )
    with checkpoint_errors(folder):
        model = load_checkpoint(kind, str(base), new_head=True, num_labels=rows[0], **kwargs)
        model.load_adapter(str(folder))
        model.config.update(_adapted_config(folder))
    model.name_or_path = str(folder)
    return model.eval()


def load_tokenizer(
    path_or_id: str | Path, *, gguf_file: str | None = None
) -> PreTrainedTokenizerBase:
    """The tokenizer of a checkpoint.

    Args:
        path_or_id: a local folder or a Hub id.
        gguf_file: name of a GGUF file there that holds it.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: it has no tokenizer that can be read.
    """
    gguf: dict[str, Any] = {} if gguf_file is None else {"gguf_file": gguf_file}
    with checkpoint_errors(path_or_id, gguf_file=gguf_file):
        if is_adapter(path_or_id) and not (Path(path_or_id) / "tokenizer_config.json").is_file():
            path_or_id = str(_base_of(Path(path_or_id)))
        try:
            return AutoTokenizer.from_pretrained(path_or_id, trust_remote_code=False, **gguf)
        except (OSError, ImportError):
            raise
        except Exception as error:  # the tokenizers library raises no narrower one
            raise ValueError(
                f"{path_or_id} has no tokenizer that can be read ({_first_line(error)}); save one "
                "there: tokenizer.save_pretrained, or copy tokenizer.json and tokenizer_config.json"
            ) from error


@contextmanager
def checkpoint_errors(path_or_id: str | Path, *, gguf_file: str | None = None) -> Iterator[None]:
    """Context in which errors of reading a checkpoint name the checkpoint and the remedy.

    Args:
        path_or_id: a local folder or a Hub id.
        gguf_file: name of a GGUF file there that holds the whole checkpoint.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: the checkpoint cannot be read.
    """
    _check_exists(path_or_id, gguf_file)
    folder = Path(path_or_id)
    try:
        yield
    except SafetensorError as error:
        raise ValueError(
            f"the weights in {path_or_id} are damaged ({error}); copy or download them again"
        ) from error
    except OSError as error:
        if folder.is_dir() and (folder / _ADAPTER).is_file():
            raise OSError(
                f"{folder} holds a LoRA adapter of {_base_of(folder)!r}, which cannot be loaded "
                f"({_first_line(error)}); put the base there, or load it yourself and add the "
                "adapter: reason_decode.adapters.with_adapter(model, folder)"
            ) from error
        raise OSError(f"{path_or_id} cannot be loaded: {_first_line(error)}") from error
    except ImportError as error:
        # transformers asks for versions, or for torch extensions, in many words.
        packages = ("gguf", "bitsandbytes", "torchao", "accelerate")
        missing = (x for x in packages if x in str(error).lower() and find_spec(x) is None)
        if (found := next(missing, None)) is None:
            raise
        raise ImportError(
            f"loading {path_or_id} in this way needs {found}: pip install {found}"
        ) from error
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ValueError(
            f"{path_or_id} cannot be loaded ({type(error).__name__}: {_first_line(error)}); its "
            "files are damaged or of another version: copy or download them again"
        ) from error
    except ValueError as error:
        if str(path_or_id) in str(error):
            raise
        raise ValueError(f"{path_or_id} cannot be loaded: {_first_line(error)}") from error
    except StrictDataclassError as error:
        why = " ".join(str(error).split())
        raise ValueError(
            f"config.json in {path_or_id} describes no possible model: {why}"
        ) from error


def _check_exists(path_or_id: str | Path, gguf_file: str | None = None) -> None:
    """Raise unless this is a folder with a model or an adapter, or could be a Hub id."""
    path = Path(path_or_id)
    if path.is_file():
        gguf = f", and gguf_file={path.name} (--gguf-file)" if path.suffix == ".gguf" else ""
        raise ValueError(f"got the file {path}; pass the folder that holds it, {path.parent}{gguf}")
    if not path.is_dir() and not _HUB_ID.fullmatch(str(path_or_id)):
        raise FileNotFoundError(
            f"there is no folder {path_or_id}; pass one that save_pretrained wrote, or a Hub id "
            "such as owner/name"
        )
    if gguf_file is not None:
        if path.is_dir() and not (path / gguf_file).is_file():
            held = ", ".join(sorted(x.name for x in path.glob("*.gguf"))) or "none"
            raise ValueError(f"the folder {path} has no file {gguf_file}; its GGUF files: {held}")
        return
    if path.is_dir() and not ((path / "config.json").is_file() or (path / _ADAPTER).is_file()):
        held = ", ".join(sorted(x.name for x in path.iterdir())[:_MAX_SHOWN]) or "nothing"
        raise ValueError(
            f"the folder {path} has no config.json; it holds {held}. Pass a folder that "
            "save_pretrained wrote"
        )


def _check_weights(folder: Path) -> None:
    """Raise if all weights in a folder are pickled, or an index names other files than its own."""
    names = sorted(x.name for x in folder.iterdir()) if folder.is_dir() else []
    pickled = [name for name in names if name.endswith(_PICKLES)]
    if pickled and not any(name.endswith(".safetensors") for name in names):
        raise ValueError(
            f"got no safetensors in {folder}; pickled weights ({pickled[0]}) are not read, for "
            "they can run code: if you trust them, convert them with save_pretrained"
        )
    for name in names:
        if name.endswith(".safetensors.index.json"):
            for file in sorted(set(json.loads((folder / name).read_text())["weight_map"].values())):
                if not file.endswith(".safetensors") or Path(file).name != file:
                    raise ValueError(
                        f"{folder / name} names {file!r} as a file of weights; only safetensors "
                        "files in the folder itself are read, since others can run code"
                    )


def _check_config(path_or_id: str | Path, kwargs: Mapping[str, Any]) -> None:
    """Raise if a config asks for code from the Hub, or for far more layers than there are weights.

    transformers downloads and runs a kernel that ``attn_implementation`` names as ``owner/name``.
    """
    folder = Path(path_or_id)
    if folder.is_dir() and not (folder / "config.json").is_file():
        return  # an adapter
    config = AutoConfig.from_pretrained(path_or_id, trust_remote_code=False)
    attention = attention_implementation(config)
    if "attn_implementation" not in kwargs and "/" in str(attention):
        raise ValueError(
            f"config.json of {path_or_id} asks for the attention {attention!r}, code that would be "
            'downloaded and run; pass attn_implementation="sdpa", or that name if you trust it'
        )
    layers, held = getattr(config, "num_hidden_layers", None), _count_layers(folder)
    if held and isinstance(layers, int) and layers > 10 * held + 100:
        raise ValueError(
            f"config.json of {path_or_id} says num_hidden_layers={layers}, and there are weights "
            f"of {held}; take both from one save"
        )


def _count_layers(folder: Path) -> int:
    """Number of layers of which a folder holds weights, by the names in its safetensors files."""
    numbers: set[int] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            numbers |= {int(found[1]) for name in file.keys() if (found := _LAYER.search(name))}
    return len(numbers)


def _base_if_adapter(path_or_id: str | Path) -> str | None:
    """Name of the base of an adapter; ``None`` for a model."""
    return _base_of(Path(path_or_id)) if is_adapter(path_or_id) else None


def _base_of(folder: Path) -> str | None:
    """Name of the model that an adapter was trained on, if its config can be read and has it."""
    try:
        return _adapter_config(folder).get("base_model_name_or_path")
    except ValueError:
        return None


def _adapter_config(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / _ADAPTER).read_text())
    return config if isinstance(config, dict) else {}


def _adapted_config(folder: Path) -> dict[str, Any]:
    """The fields that the config of an adapted model has beside those of its base."""
    path = folder / ADAPTED_CONFIG
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object; copy the adapter again")
    allowed = {"id2label", "label2id"}
    found = {x: v for x, v in found.items() if x in allowed or x.startswith("reason_decode")}
    if "id2label" in found:
        found["id2label"] = {int(k): v for k, v in found["id2label"].items()}
    return found


def _first_line(error: BaseException) -> str:
    """The first line of a message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
