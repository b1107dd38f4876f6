r"""Token-level guidance: each class goes into ``generate(logits_processor=[...])``.

Alone or beside a strategy; each works in batches, with beams, and for one call after another.

- `NegativeContrastLogitsProcessor(negative, adapter=None, weight=0.5, plausible=0.1)` subtracts
  what a model of wrong solutions, or an adapter of the generator, favours, among plausible tokens
- `RationaleGuidanceLogitsProcessor(writer, model, tokenizer, weight=1.0)` adds how much likelier
  the step's rationale makes the token
- `StepRewardLogitsProcessor(scorer, tokenizer, weight=1.0, candidates=8)` adds, where a step
  begins, what a scorer gives the step that begins so
- `StructuredStepsLogitsProcessor(tokenizer, step=r"[^\n]+\n", answer=...)` lets through only
  what keeps steps and answer in shape; `pip install 'reason-decode[structured]'`

```python
from reason_decode import NegativeContrastLogitsProcessor, tiny

t = tiny.load()
contrast = NegativeContrastLogitsProcessor(t.model)  # a model of wrong solutions would stand here
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
