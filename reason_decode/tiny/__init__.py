"""The embedded default: a small generator and its verifier, in the package, ready offline."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from reason_decode.scorers import OutcomeRewardModel, ProcessRewardModel, RationaleScorer

WEIGHTS = Path(__file__).parent / "weights"
"""Folders ``base``, ``prm``, ``orm``, ``rationalyst``: checkpoints for plain transformers."""
# Of a rationale; what two intermediate results are made of takes up to forty.
_RATIONALE_TOKENS = 48


@dataclass(frozen=True)
class Tiny:
    """The tiny models.

    Args:
        model: the generator, a ``LlamaForCausalLM`` of 2.7 M parameters in float32.
        tokenizer: its tokenizer; byte-level, one token a digit.
        prm: the process reward model for its steps.
    """

    # Any: transformers types its models so that none of them can be asked to generate().
    model: Any
    tokenizer: PreTrainedTokenizerBase
    prm: ProcessRewardModel

    @cached_property
    def verifier(self) -> ProcessRewardModel:
        """``prm`` as a judge of whole solutions, to which a dead end is half a mistake.

        While steps are searched for, one that leaves the target out of reach is as bad as a wrong
        one, and ``prm`` says so. What has reached its answer was in no dead end; but what looks
        like one still casts doubt on it.
        """
        return ProcessRewardModel(self.prm.model, self.prm.tokenizer, neutral="half")

    @cached_property
    def orm(self) -> OutcomeRewardModel:
        """The outcome reward model for whole solutions; loaded when it is first asked for.

        Raises:
            FileNotFoundError: the package was built without its weights.
        """
        _check("orm", "train_orm --out runs/orm")
        return OutcomeRewardModel.from_pretrained(WEIGHTS / "orm")

    @cached_property
    def rationalyst(self) -> RationaleScorer:
        """Writes rationales and scores steps by them; loaded when it is first asked for.

        Raises:
            FileNotFoundError: the package was built without its weights.
        """
        _check("rationalyst", "train_rationalyst --out runs/rationalyst")
        return RationaleScorer.from_pretrained(
            WEIGHTS / "rationalyst", max_new_tokens=_RATIONALE_TOKENS
        )


def load() -> Tiny:
    """Load the tiny models from the package; each call loads anew.

    Raises:
        FileNotFoundError: the package was built without its weights.
    """
    for name in ("base", "prm"):
        _check(name, "train base --out runs/base")
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS / "base").eval()
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "base")
    return Tiny(model, tokenizer, ProcessRewardModel.from_pretrained(WEIGHTS / "prm"))


def _check(name: str, command: str) -> None:
    if not (WEIGHTS / name / "model.safetensors").is_file():
        raise FileNotFoundError(
            f"no weights in {WEIGHTS / name}; install the released package, or train them: "
            f"python -m reason_decode.tiny.{command}"
        )
