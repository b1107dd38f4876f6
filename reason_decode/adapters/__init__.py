"""One base model in memory, several models of it: LoRA adapters.

```python
from transformers import AutoModelForCausalLM
from reason_decode import NegativeContrastLogitsProcessor
from reason_decode.adapters import load_nat, active_adapter

base = AutoModelForCausalLM.from_pretrained("you/your-model")
model = load_nat(base, "runs/nat")  # a peft model with two adapters: nat (active), negative
with active_adapter(model, "negative"):  # the negative model, for a while
    ...
contrast = NegativeContrastLogitsProcessor(model, adapter="negative")
```

A NAT adapter (`reason-decode train nat`) is nothing without its negative one and its unit: a stock
loader, another negative adapter or a merge is an error, never wrong logits. `with_adapter` gives a
rationale model, a verifier or a generator that shares the weights of another.
"""

from reason_decode.adapters.active import active_adapter
from reason_decode.adapters.nat import add_nat, load_nat
from reason_decode.adapters.saved import load_adapted, sum_adapters
from reason_decode.adapters.shared_base import with_adapter

__all__ = ["active_adapter", "add_nat", "load_adapted", "load_nat", "sum_adapters", "with_adapter"]
