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
- `reason_decode.tiny`: the embedded default
"""

from reason_decode.answers import extract_answer, same_answer
from reason_decode.processors import (
    NegativeContrastLogitsProcessor,
    RationaleGuidanceLogitsProcessor,
    StepRewardLogitsProcessor,
    StructuredStepsLogitsProcessor,
)
from reason_decode.records import Candidate, Cost, ReasoningOutput, Step, Trace
from reason_decode.scorers import (
    LikelihoodScorer,
    OutcomeRewardModel,
    ProcessRewardModel,
    RankingModel,
    RationaleScorer,
)
from reason_decode.steps import StepSplitter
from reason_decode.strategies import BestOfN, RationaleGuided, SelfConsistency, StepSearch

__all__ = [
    "BestOfN",
    "Candidate",
    "Cost",
    "LikelihoodScorer",
    "NegativeContrastLogitsProcessor",
    "OutcomeRewardModel",
    "ProcessRewardModel",
    "RankingModel",
    "RationaleGuidanceLogitsProcessor",
    "RationaleGuided",
    "RationaleScorer",
    "ReasoningOutput",
    "SelfConsistency",
    "Step",
    "StepRewardLogitsProcessor",
    "StepSearch",
    "StepSplitter",
    "StructuredStepsLogitsProcessor",
    "Trace",
    "extract_answer",
    "same_answer",
]
