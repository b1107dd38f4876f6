"""One base model in memory, several models of it: LoRA adapters."""

from reason_decode.adapters.nat import add_nat, load_nat
from reason_decode.adapters.roles import with_adapter
from reason_decode.adapters.saved import load_adapted, with_sum
from reason_decode.adapters.switch import wearing

__all__ = ["add_nat", "load_adapted", "load_nat", "wearing", "with_adapter", "with_sum"]
