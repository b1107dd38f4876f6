"""One base model in memory, several models of it: LoRA adapters."""

from reason_decode.adapters.roles import with_adapter

__all__ = ["with_adapter"]
