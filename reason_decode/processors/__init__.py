r"""Token-level guidance: logits processors for ``generate(logits_processor=[...])``.

Each works alone or together with a strategy, in batches, with beam search, and for one call after
another.

- `NegativeContrastLogitsProcessor(negative, adapter=None, weight=0.5, plausibility=0.1)`:
  contrastive decoding against a model of wrong solutions, or an adapter of the generator
- `RationaleGuidanceLogitsProcessor(writer, model, tokenizer, weight=1.0)`: adds the
  log-probability that a rationale of the step adds to each token
- `StepRewardLogitsProcessor(scorer, tokenizer, weight=1.0, candidates=8)`: adds, at the first
  token of a step, a scorer's reward for the step
- `StructuredStepsLogitsProcessor(tokenizer, step=r"[^\n]+\n", answer=...)`: allows only steps and
  answers of a given shape; needs `pip install 'reason-decode[structured]'`

```python
from reason_decode import NegativeContrastLogitsProcessor, tiny

t = tiny.load()
contrast = NegativeContrastLogitsProcessor(t.model)  # in practice, a model of wrong solutions
inputs = t.tokenizer(["Make 24 from 4 5 6 10.\n"], return_tensors="pt")
out = t.model.generate(**inputs, max_new_tokens=96, logits_processor=[contrast])
```
"""

from reason_decode.processors.contrast import NegativeContrastLogitsProcessor
from reason_decode.processors.rationale import RationaleGuidanceLogitsProcessor
from reason_decode.processors.step_reward import StepRewardLogitsProcessor
from reason_decode.processors.structure import StructuredStepsLogitsProcessor

__all__ = [
    "NegativeContrastLogitsProcessor",
    "RationaleGuidanceLogitsProcessor",
    "StepRewardLogitsProcessor",
    "StructuredStepsLogitsProcessor",
]
