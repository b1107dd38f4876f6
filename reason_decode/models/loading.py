"""Models and tokenizers by name: ``tiny``, a local folder, or a Hub id."""

from pathlib import Path
from typing import Any

import torch
import yaml
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedTokenizerBase,
    TorchAoConfig,
)
from transformers.quantizers.auto import AutoQuantizationConfig

from reason_decode.core.model_options import ModelOptions
from reason_decode.models.checkpoint import load_checkpoint, load_tokenizer
from reason_decode.models.devices import default_device, is_fast_on_cpu

__all__ = ["load_model", "load_padded_tokenizer", "packaged"]

WEIGHTS = Path(__file__).parents[1] / "tiny" / "weights"


def packaged(name: str) -> Path:
    """The folder of a packaged model: ``base``, ``prm``, ``orm``, ``rationalyst`` or ``ranker``."""
    return WEIGHTS / name


def load_model(
    name: str, options: ModelOptions | None = None
) -> tuple[Any, PreTrainedTokenizerBase]:
    """Load a causal language model in evaluation mode and its tokenizer.

    Args:
        name: ``tiny``, a folder written by ``save_pretrained``, or a Hub id.
        options: dtype, device map, quantization, GGUF file; ``None``: a fast dtype, on the default
            device.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: the checkpoint cannot be read, or lacks weights.
        ImportError: a package that the options need is not installed.
    """
    options = options or ModelOptions()
    name = str(packaged("base")) if name == "tiny" else name
    tokenizer = load_padded_tokenizer(name, gguf_file=options.gguf_file)
    dtype = "auto" if options.dtype == "auto" else getattr(torch, options.dtype)
    arguments: dict[str, Any] = {"dtype": dtype}
    if options.gguf_file is not None:
        arguments["gguf_file"] = options.gguf_file
    if options.quantization is not None:
        arguments["quantization_config"] = _quantization_config(options.quantization)
    if options.device_map is not None:
        arguments["device_map"] = options.device_map
    # Any: transformers' annotation of `to` takes no device.
    model: Any = load_checkpoint(AutoModelForCausalLM, name, **arguments)
    # Quantized weights are on their device already; some can neither be moved nor converted.
    if options.device_map is None and options.quantization is None:
        model = model.to(default_device())
        packed = getattr(model, "is_quantized", False)
        if dtype == "auto" and model.device.type == "cpu" and not packed:
            model = model if is_fast_on_cpu(model.dtype) else model.float()
    return model.eval(), tokenizer


def load_padded_tokenizer(name: str, *, gguf_file: str | None = None) -> PreTrainedTokenizerBase:
    """Load a tokenizer that can pad: without a padding token, it pads with the end of sequence.

    Args:
        name: a folder or a Hub id.
        gguf_file: name of a GGUF file there that holds it.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: there is no tokenizer that can be read.
    """
    tokenizer = load_tokenizer(name, gguf_file=gguf_file)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _quantization_config(name: str) -> Any:
    """The quantization config of a word, or of a file.

    Raises:
        ValueError: it is neither.
        ImportError: the package that quantizes is not installed.
    """
    words = {
        "bnb-4bit": lambda: BitsAndBytesConfig(load_in_4bit=True),
        "bnb-8bit": lambda: BitsAndBytesConfig(load_in_8bit=True),
        "torchao-int8": lambda: _torchao("Int8WeightOnlyConfig"),
        "torchao-int4": lambda: _torchao("Int4WeightOnlyConfig"),
    }
    if name in words:
        return words[name]()
    path = Path(name)
    if not path.is_file():
        raise ValueError(
            f"got quantization={name}; need one of {', '.join(words)}, or a YAML or JSON file with "
            "quant_method"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return AutoQuantizationConfig.from_dict(content)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the quantization config {path} cannot be used: {' '.join(str(error).split())[:300]}"
        ) from error


def _torchao(kind: str) -> Any:
    """A weight-only config of torchao."""
    try:
        import torchao.quantization as torchao  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError("torchao quantizes the weights: pip install torchao") from error
    return TorchAoConfig(getattr(torchao, kind)())
