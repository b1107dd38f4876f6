"""Ways to spend computation on a better answer, each a ``custom_generate`` callable."""

from reason_decode.strategies.best_of_n import BestOfN
from reason_decode.strategies.rationale_guided import RationaleGuided
from reason_decode.strategies.self_consistency import SelfConsistency
from reason_decode.strategies.step_search import StepSearch

__all__ = ["BestOfN", "RationaleGuided", "SelfConsistency", "StepSearch"]
