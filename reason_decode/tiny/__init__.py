r"""The packaged models: a small generator, its scorers and adapters, ready without a network.

```python
from reason_decode import tiny

t = tiny.load()
scores = t.prm.score(["Make 24 from 4 5 6 10.\n"], ["10 - 4 = 6 (left: 5 6 6)"])
```

``WEIGHTS`` is the folder of their checkpoints, for plain transformers; its README.md is the model
card. ``examples/tiny`` in the repository trains them.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from reason_decode.models.loading import WEIGHTS
from reason_decode.scorers import (
    OutcomeRewardModel,
    ProcessRewardModel,
    RankingModel,
    RationaleScorer,
    TokenClassification,
)

__all__ = ["WEIGHTS", "Tiny", "load"]


@dataclass(frozen=True)
class Tiny:
    """The packaged models; all but the first three are loaded on first use.

    Args:
        model: the generator, a ``LlamaForCausalLM`` of 2.7 M parameters in float32.
        tokenizer: the tokenizer of all models: byte-level BPE, one token a digit.
        prm: the process reward model.
    """

    # Any: transformers types its models so that none of them can be asked to generate().
    model: Any
    tokenizer: PreTrainedTokenizerBase
    prm: ProcessRewardModel

    @cached_property
    def verifier(self) -> ProcessRewardModel:
        """The process reward model for whole solutions: a dead end counts half, not as wrong.

        In a search, a step that leaves the target out of reach is as bad as a wrong one, and
        ``prm`` scores it so. A whole solution that has reached its answer went through no dead end;
        a step that looks like one only makes the solution less likely to be right.
        """
        return TokenClassification(self.prm.model, self.prm.tokenizer, neutral="half")

    @cached_property
    def orm(self) -> OutcomeRewardModel:
        """The outcome reward model.

        Raises:
            FileNotFoundError: the package was built without its weights.
        """
        _require("orm", "python -m examples.tiny.train_orm --out runs/orm")
        return OutcomeRewardModel.from_pretrained(WEIGHTS / "orm")

    @cached_property
    def rationalyst(self) -> RationaleScorer:
        """The rationale model: writes rationales and scores steps by them.

        Raises:
            FileNotFoundError: the package was built without its weights.
        """
        _require("rationalyst", "python -m examples.tiny.train_rationalyst --out runs/rationalyst")
        return RationaleScorer.from_pretrained(WEIGHTS / "rationalyst")

    @cached_property
    def ranker(self) -> RankingModel:
        """The ranking model: scores whole solutions, to weight votes.

        Raises:
            FileNotFoundError: the package was built without its weights.
        """
        samples = "runs/dust/samples/samples-*"
        command = f"reason-decode train ranker --model {WEIGHTS / 'orm'} --input {samples}"
        _require("ranker", command)
        return RankingModel.from_pretrained(WEIGHTS / "ranker")

    @cached_property
    def negative(self) -> Any:
        """The generator with the LoRA adapter that learnt its wrong samples, as a peft model.

        It shares no weights with ``model``.

        Raises:
            ModuleNotFoundError: peft is not installed.
            FileNotFoundError: the package was built without its weights.
        """
        return _load_adapter("negative")

    @cached_property
    def nat(self) -> Any:
        """The generator with NAT, a LoRA adapter of right samples weighed against ``negative``'s.

        It is a peft model and shares no weights with ``model``.

        Raises:
            ModuleNotFoundError: peft is not installed.
            FileNotFoundError: the package was built without its weights.
        """
        return _load_adapter("nat")

    @cached_property
    def nce(self) -> Any:
        """The generator with the LoRA adapter that ``nat`` was distilled into, as a peft model.

        It shares no weights with ``model``.

        Raises:
            ModuleNotFoundError: peft is not installed.
            FileNotFoundError: the package was built without its weights.
        """
        return _load_adapter("nce")


def load() -> Tiny:
    """Load the packaged models; each call loads new objects.

    Raises:
        FileNotFoundError: the package was built without its weights.
    """
    _require("base", "python -m examples.tiny.train base --out runs/base")
    _require("prm", "python -m examples.tiny.train prm --out runs/prm --base runs/base")
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS / "base").eval()
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "base")
    return Tiny(model, tokenizer, ProcessRewardModel.from_pretrained(WEIGHTS / "prm"))


def _load_adapter(name: str) -> Any:
    folder = WEIGHTS / "adapters"
    command = f"python -m benchmarks.papers.dust --export {folder}"
    _require_file(folder / name / "adapter_model.safetensors", command)
    from reason_decode.adapters import load_adapter

    base = AutoModelForCausalLM.from_pretrained(WEIGHTS / "base").eval()
    # A NAT adapter is loaded from the folder that also has its negative adapter.
    return load_adapter(base, folder if name == "nat" else folder / name)


def _require(name: str, command: str) -> None:
    _require_file(WEIGHTS / name / "model.safetensors", command)


def _require_file(weights: Path, command: str) -> None:
    """Raise if a file of weights is missing, with the command that trains it."""
    if not weights.is_file():
        raise FileNotFoundError(
            f"no weights in {weights.parent}; install the released package, or train them in a "
            f"checkout of the repository: {command}"
        )
