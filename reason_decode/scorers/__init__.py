"""Things that judge solutions: one number a step, or one a solution; higher is better."""

from reason_decode.scorers.base import Scorer, Session, reduce_scores
from reason_decode.scorers.likelihood import LikelihoodScorer
from reason_decode.scorers.outcome import OutcomeRewardModel
from reason_decode.scorers.process import ProcessRewardModel
from reason_decode.scorers.ranking import RankingModel
from reason_decode.scorers.rationale import RationaleScorer
from reason_decode.scorers.writer import RationaleWriter

__all__ = [
    "LikelihoodScorer",
    "OutcomeRewardModel",
    "ProcessRewardModel",
    "RankingModel",
    "RationaleScorer",
    "RationaleWriter",
    "Scorer",
    "Session",
    "reduce_scores",
]
