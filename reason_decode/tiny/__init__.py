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

from reason_decode.scorers import (
    OutcomeRewardModel,
    ProcessRewardModel,
    RankingModel,
    RationaleScorer,
)

WEIGHTS = Path(__file__).parent / "weights"
"""Folders ``base``, ``prm``, ``orm``, ``rationalyst``, ``ranker``: checkpoints for plain
transformers; and ``adapters``, of adapters of the base, for ``load_adapted``."""


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
    def negative(self) -> Any:
        """Another base with the LoRA adapter trained on its wrong samples; peft's model.

        Like ``nat`` and ``nce`` it is loaded when it is first asked for, shares no weights with
        ``model``, and generates as that does.

        Raises:
            ModuleNotFoundError: peft is not installed.
            FileNotFoundError: the package was built without its weights.
        """
        return _adapted("negative")

    @cached_property
    def nat(self) -> Any:
        """The base with NAT: a LoRA adapter of right samples, weighed against ``negative``'s.

        Raises:
            ModuleNotFoundError: peft is not installed.
            FileNotFoundError: the package was built without its weights.
        """
        return _adapted("nat")

    @cached_property
    def nce(self) -> Any:
        """The base with the plain LoRA adapter that ``nat`` was distilled into.

        Raises:
            ModuleNotFoundError: peft is not installed.
            FileNotFoundError: the package was built without its weights.
        """
        return _adapted("nce")

    @cached_property
    def rationalyst(self) -> RationaleScorer:
        """Writes rationales and scores steps by them; loaded when it is first asked for.

        Raises:
            FileNotFoundError: the package was built without its weights.
        """
        _check("rationalyst", "train_rationalyst --out runs/rationalyst")
        return RationaleScorer.from_pretrained(WEIGHTS / "rationalyst")

    @cached_property
    def ranker(self) -> RankingModel:
        """Weighs the votes of whole solutions; loaded when it is first asked for.

        Raises:
            FileNotFoundError: the package was built without its weights.
        """
        weights, samples = WEIGHTS / "ranker" / "model.safetensors", "runs/dust/samples/samples-*"
        _found(weights, f"reason-decode train ranker --model {WEIGHTS / 'orm'} --data {samples}")
        return RankingModel.from_pretrained(WEIGHTS / "ranker")


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


def _adapted(name: str) -> Any:
    folder = WEIGHTS / "adapters"
    _found(
        folder / name / "adapter_model.safetensors",
        f"python -m benchmarks.papers.dust --ship {folder}",
    )
    from reason_decode.adapters import load_adapted

    base = AutoModelForCausalLM.from_pretrained(WEIGHTS / "base").eval()
    # A NAT adapter is loaded by the folder that has its negative one, too.
    return load_adapted(base, folder if name == "nat" else folder / name)


def _check(name: str, command: str) -> None:
    _found(WEIGHTS / name / "model.safetensors", f"python -m reason_decode.tiny.{command}")


def _found(weights: Path, command: str) -> None:
    if not weights.is_file():
        raise FileNotFoundError(
            f"no weights in {weights.parent}; install the released package, or train them: "
            f"{command}"
        )
