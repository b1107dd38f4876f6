r"""Better reasoning for ``transformers`` models: one argument to ``model.generate``.

```python
from reason_decode import BestOfN, tiny

t = tiny.load()  # in the place of a model, a tokenizer and a reward model of your own
inputs = t.tokenizer(["Make 24 from 4 5 6 10.\n"], return_tensors="pt")
out = t.model.generate(
    **inputs,
    max_new_tokens=96,
    do_sample=True,
    custom_generate=BestOfN(t.verifier, tokenizer=t.tokenizer, n=8),
)
```

The guides are the first pages of the rooms:

- `reason_decode.strategies`: best-of-n, votes, step search, rationale guidance; budgets, streams,
  folders that `generate` takes by name
- `reason_decode.scorers`: reward models as they were published, likelihood, rationales, rankers
- `reason_decode.processors`: guidance token by token
- `reason_decode.training`: verifiers of your own, labels without people, what wrong samples teach
- `reason_decode.mining`: from raw text to rationales worth learning from
- `reason_decode.adapters`: several models on the weights of one
- `reason_decode.evaluation`: tasks, curves over N, first errors
- `reason_decode.kernels`: log-probabilities without logits
- `reason_decode.tiny`: the packaged models
"""

from typing import TYPE_CHECKING, Any

from reason_decode.core.lazy import lazy_imports

if TYPE_CHECKING:
    from reason_decode.core.answers import extract_answer, same_answer
    from reason_decode.core.solutions import Candidate, Cost, Step, Trace
    from reason_decode.core.splitting import StepSplitter
    from reason_decode.generation.output import ReasoningOutput
    from reason_decode.processors import (
        NegativeContrastLogitsProcessor,
        RationaleGuidanceLogitsProcessor,
        StepRewardLogitsProcessor,
        StructuredStepsLogitsProcessor,
    )
    from reason_decode.scorers import (
        ConfidenceScorer,
        LikelihoodScorer,
        OutcomeRewardModel,
        ProcessRewardModel,
        RankingModel,
        RationaleScorer,
        Scorer,
    )
    from reason_decode.strategies import (
        BestOfN,
        ParticleFilter,
        RationaleGuided,
        Response,
        SelfConsistency,
        StepSearch,
    )

    __version__: str

__all__ = [
    "BestOfN",
    "Candidate",
    "ConfidenceScorer",
    "Cost",
    "LikelihoodScorer",
    "NegativeContrastLogitsProcessor",
    "OutcomeRewardModel",
    "ParticleFilter",
    "ProcessRewardModel",
    "RankingModel",
    "RationaleGuidanceLogitsProcessor",
    "RationaleGuided",
    "RationaleScorer",
    "ReasoningOutput",
    "Response",
    "Scorer",
    "SelfConsistency",
    "Step",
    "StepRewardLogitsProcessor",
    "StepSearch",
    "StepSplitter",
    "StructuredStepsLogitsProcessor",
    "Trace",
    "__version__",
    "extract_answer",
    "same_answer",
]

# Each public name is imported when it is first used, so that `import reason_decode` and
# `reason-decode --help` load neither torch nor transformers.
_MODULES = {
    "reason_decode.core.answers": ("extract_answer", "same_answer"),
    "reason_decode.core.solutions": ("Candidate", "Cost", "Step", "Trace"),
    "reason_decode.core.splitting": ("StepSplitter",),
    "reason_decode.generation.output": ("ReasoningOutput",),
    "reason_decode.processors": (
        "NegativeContrastLogitsProcessor",
        "RationaleGuidanceLogitsProcessor",
        "StepRewardLogitsProcessor",
        "StructuredStepsLogitsProcessor",
    ),
    "reason_decode.scorers": (
        "ConfidenceScorer",
        "LikelihoodScorer",
        "OutcomeRewardModel",
        "ProcessRewardModel",
        "RankingModel",
        "RationaleScorer",
        "Scorer",
    ),
    "reason_decode.strategies": (
        "BestOfN",
        "ParticleFilter",
        "RationaleGuided",
        "Response",
        "SelfConsistency",
        "StepSearch",
    ),
}
_get, _ = lazy_imports(__name__, _MODULES)


def __getattr__(name: str) -> Any:
    return _version() if name == "__version__" else _get(name)


def _version() -> str:
    # Imported here: importlib.metadata takes longer to import than everything above.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("reason-decode")
    except PackageNotFoundError:  # a checkout on the path that was never installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
