"""Models and tokenizers by name: ``tiny``, a local folder, or a Hub id."""

from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from reason_decode.models.checkpoint import load_checkpoint, load_tokenizer
from reason_decode.models.devices import default_device

__all__ = ["load_model", "load_padded_tokenizer", "packaged"]

WEIGHTS = Path(__file__).parents[1] / "tiny" / "weights"


def packaged(name: str) -> Path:
    """The folder of a packaged model: ``base``, ``prm``, ``orm``, ``rationalyst`` or ``ranker``."""
    return WEIGHTS / name


def load_model(name: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """Load a causal language model in evaluation mode and its tokenizer, on the default device.

    Args:
        name: ``tiny``, a folder written by ``save_pretrained``, or a Hub id.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: the checkpoint cannot be read, or lacks weights.
    """
    name = str(packaged("base")) if name == "tiny" else name
    tokenizer = load_padded_tokenizer(name)
    # Any: transformers' annotation of `to` takes no device.
    model: Any = load_checkpoint(AutoModelForCausalLM, name, dtype="auto")
    return model.to(default_device()).eval(), tokenizer


def load_padded_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer that can pad: without a padding token, it pads with the end of sequence.

    Args:
        name: a folder or a Hub id.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: there is no tokenizer that can be read.
    """
    tokenizer = load_tokenizer(name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
