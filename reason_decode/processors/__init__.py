"""Token-level guidance: each class goes into ``generate(logits_processor=[...])``."""

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
