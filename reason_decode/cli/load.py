"""Models by name: ``tiny``, a local folder, or a Hub id."""

from functools import cache
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from transformers.utils import logging

from reason_decode import tiny
from reason_decode.scorers import (
    ProcessRewardModel,
    RationaleScorer,
    RationaleWriter,
    ServedVerifier,
)
from reason_decode.scorers.checkpoint import load_checkpoint, load_words

__all__ = ["load_model", "load_rationalyst", "load_scorer", "load_tokenizer", "load_verifier"]


@cache
def _tiny() -> tiny.Tiny:
    # Once a process, for a command may want the generator and the reward model of it; and without
    # the host's progress bars, which are over before one can read them.
    logging.disable_progress_bar()
    try:
        return tiny.load()
    finally:
        logging.enable_progress_bar()


def load_model(name: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """A causal language model in evaluation mode and its tokenizer, on a GPU if there is one.

    Args:
        name: ``tiny``, a folder written by ``save_pretrained``, or a Hub id.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: the checkpoint cannot be read, or lacks weights.
    """
    if name == "tiny":
        return _tiny().model, _tiny().tokenizer
    tokenizer = load_tokenizer(name)
    # Untyped, since the host's annotation of `to` accepts no device.
    model: Any = load_checkpoint(AutoModelForCausalLM, name, dtype="auto")
    return model.to(_device()).eval(), tokenizer


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """A tokenizer; one without a padding token gets its end of sequence for one, to batch with.

    Args:
        name: a folder or a Hub id.

    Raises:
        OSError: there is no such folder and no such id.
    """
    tokenizer = load_words(name)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_scorer(name: str) -> ProcessRewardModel | ServedVerifier:
    """A process reward model, on a GPU if there is one; or a chat model at a server.

    Args:
        name: ``tiny``, a folder, a Hub id, or ``URL#MODEL``.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: it is another kind of model, or an address without one.
    """
    if name == "tiny":
        return _tiny().prm
    if name.startswith(("http://", "https://")):
        address, _, model = name.partition("#")
        if not model:
            raise ValueError(
                f"got {name}; write the model's name behind it: http://localhost:8000/v1#MODEL"
            )
        return ServedVerifier(address, model)
    scorer = ProcessRewardModel.from_pretrained(name, dtype="auto")
    model: Any = scorer.model
    model.to(_device())
    return scorer


def load_verifier(name: str) -> ProcessRewardModel | ServedVerifier:
    """What ``load_scorer`` loads, to judge whole solutions: of ``tiny`` its ``verifier``."""
    return _tiny().verifier if name == "tiny" else load_scorer(name)


def load_rationalyst(
    name: str,
    judge: str | None = None,
    *,
    discount: float = 1.0,
    subtract: bool = False,
    mean: bool = True,
) -> RationaleScorer:
    """A rationale model as a scorer of steps, on a GPU if there is one.

    Args:
        name: what writes rationales: ``tiny``, a folder (an adapter's will do) or a Hub id.
        judge: what finds steps likely given a rationale; ``None``: the same model.
        discount: see ``RationaleScorer``.
        subtract: see ``RationaleScorer``.
        mean: see ``RationaleScorer``.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: a discount out of range.
    """
    if name == "tiny":
        writer = _tiny().rationalyst.writer
    else:
        writer = RationaleWriter(*load_model(name))
    model, words = (None, None) if judge in (None, name) else load_model(judge)
    how: dict[str, Any] = {"discount": discount, "subtract": subtract, "mean": mean}
    return RationaleScorer(writer, model, words, **how)


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
