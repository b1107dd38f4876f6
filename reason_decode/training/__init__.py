"""Training what scores and what guides: labelled solutions, losses, trainers."""

from reason_decode.training.active import learn_actively, select
from reason_decode.training.contests import Compare, contest_loss
from reason_decode.training.data import Report, read_labelled
from reason_decode.training.examples import (
    Example,
    hold_out,
    is_right,
    outcome_examples,
    step_examples,
)
from reason_decode.training.fit import Recipe
from reason_decode.training.graded import Counts, Graded, grade_samples, solution_examples
from reason_decode.training.labels import label_by_checker, label_by_scorer
from reason_decode.training.nat import train_nat, train_negative
from reason_decode.training.nce import Weigh, train_nce
from reason_decode.training.orm import train_orm
from reason_decode.training.prm import train_prm
from reason_decode.training.ranker import train_ranker
from reason_decode.training.rationale_rows import RationaleRow, read_rationales, split_documents
from reason_decode.training.rationalyst import rationale_examples, train_rationalyst
from reason_decode.training.rollouts import Rolled, label_by_rollouts
from reason_decode.training.supervision import Labelled

__all__ = [
    "Compare",
    "Counts",
    "Example",
    "Graded",
    "Labelled",
    "RationaleRow",
    "Recipe",
    "Report",
    "Rolled",
    "Weigh",
    "contest_loss",
    "grade_samples",
    "hold_out",
    "is_right",
    "label_by_checker",
    "label_by_rollouts",
    "label_by_scorer",
    "learn_actively",
    "outcome_examples",
    "rationale_examples",
    "read_labelled",
    "read_rationales",
    "select",
    "solution_examples",
    "split_documents",
    "step_examples",
    "train_nat",
    "train_nce",
    "train_negative",
    "train_orm",
    "train_prm",
    "train_ranker",
    "train_rationalyst",
]
