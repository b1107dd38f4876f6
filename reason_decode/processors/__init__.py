"""Token-level guidance: each class goes into ``generate(logits_processor=[...])``."""

from reason_decode.processors.contrast import NegativeContrastLogitsProcessor

__all__ = ["NegativeContrastLogitsProcessor"]
