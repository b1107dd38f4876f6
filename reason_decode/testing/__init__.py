"""Checks that hold a scorer or a strategy of your own to the laws that the library relies on.

```python
from reason_decode.testing import check_scorer, check_strategy

check_scorer(MyScorer())
check_strategy(lambda n: MyStrategy(tokenizer=tokenizer, n=n), model, tokenizer)
```

A broken law raises ``LawBroken``, an ``AssertionError`` whose message names the law, so the checks
can be called from any test.
"""

from reason_decode.testing.laws import LawBroken
from reason_decode.testing.scorers import (
    check_batches,
    check_empty_solutions,
    check_score_space,
    check_scorer,
    check_sessions,
    check_shapes,
    check_texts,
)
from reason_decode.testing.strategies import (
    check_cost,
    check_plain_generation,
    check_strategy,
    check_traces,
)

__all__ = [
    "LawBroken",
    "check_batches",
    "check_cost",
    "check_empty_solutions",
    "check_plain_generation",
    "check_score_space",
    "check_scorer",
    "check_sessions",
    "check_shapes",
    "check_strategy",
    "check_texts",
    "check_traces",
]
