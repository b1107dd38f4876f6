"""LoRA adapters: one base model in memory, several models of it.

`pip install 'reason-decode[training]'`

```python
from reason_decode import NegativeContrastLogitsProcessor, tiny
from reason_decode.adapters import active_adapter, load_nat

folder = tiny.WEIGHTS / "adapters"  # what `train_nat` wrote
model = load_nat(tiny.load().model, folder)  # a peft model with two adapters, nat and negative
with active_adapter(model, "negative"):  # the negative model, inside this block
    ...
processor = NegativeContrastLogitsProcessor(model, adapter="negative")
```

| function | returns |
|---|---|
| `load_nat(model, folder)` | the model with a NAT adapter and its negative adapter |
| `load_adapter(model, folder)` | the model with any adapter, NAT or plain |
| `with_adapter(model, folder)` | a second model with an adapter on the weights of the first |
| `sum_adapters(model, weights)` | the model with a weighted sum of LoRA adapters |
| `add_nat(model)` | nothing: adds an untrained NAT adapter, for training |
| `active_adapter(model, name)` | a context in which one adapter is active |

A NAT adapter (`reason-decode train nat`) needs its negative adapter and its gate: a stock loader,
another negative adapter or a merge raises an error instead of giving wrong logits.
"""

from reason_decode.adapters.active import active_adapter
from reason_decode.adapters.nat import add_nat, load_nat
from reason_decode.adapters.saved import load_adapter, sum_adapters
from reason_decode.adapters.shared_base import with_adapter

__all__ = ["active_adapter", "add_nat", "load_adapter", "load_nat", "sum_adapters", "with_adapter"]
