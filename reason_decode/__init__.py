"""Better reasoning for ``transformers`` models: one argument to ``model.generate``."""

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
