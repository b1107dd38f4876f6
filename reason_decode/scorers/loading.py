"""Scorers by name: ``tiny``, a local folder, or a Hub id."""

from typing import Any

from reason_decode.models.devices import default_device
from reason_decode.models.loading import load_model, packaged
from reason_decode.scorers.openai import EndpointVerifier
from reason_decode.scorers.process import ProcessRewardModel
from reason_decode.scorers.rationale import RationaleScorer
from reason_decode.scorers.rationale_writer import RationaleWriter

__all__ = ["load_rationalyst", "load_scorer", "load_verifier"]


def load_scorer(name: str) -> ProcessRewardModel | EndpointVerifier:
    """A process reward model, on a GPU if there is one; or a chat model at a server.

    Args:
        name: ``tiny``, a folder, a Hub id, or ``URL#MODEL``.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: it is another kind of model, or an address without one.
    """
    if name == "tiny":
        return ProcessRewardModel.from_pretrained(packaged("prm"))
    if name.startswith(("http://", "https://")):
        address, _, model = name.partition("#")
        if not model:
            raise ValueError(
                f"got {name}; write the model's name behind it: http://localhost:8000/v1#MODEL"
            )
        return EndpointVerifier(address, model)
    scorer = ProcessRewardModel.from_pretrained(name, dtype="auto")
    model: Any = scorer.model
    model.to(default_device())
    return scorer


def load_verifier(name: str) -> ProcessRewardModel | EndpointVerifier:
    """What ``load_scorer`` loads, to judge whole solutions: of ``tiny`` its ``verifier``."""
    if name == "tiny":
        return ProcessRewardModel.from_pretrained(packaged("prm"), neutral="half")
    return load_scorer(name)


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
        writer = RationaleScorer.from_pretrained(packaged("rationalyst")).writer
    else:
        writer = RationaleWriter(*load_model(name))
    model, words = (None, None) if judge in (None, name) else load_model(judge)
    how: dict[str, Any] = {"discount": discount, "subtract": subtract, "mean": mean}
    return RationaleScorer(writer, model, words, **how)
