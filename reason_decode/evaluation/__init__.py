"""Measuring: tasks, graders, metrics; a task run, samples reranked, N varied, errors located."""

from reason_decode.evaluation.curves import Samples, accuracy_curves
from reason_decode.evaluation.metrics import accuracy_interval, pass_at_k
from reason_decode.evaluation.rerank import rerank
from reason_decode.evaluation.runner import evaluate
from reason_decode.evaluation.tasks import TASKS, Item, Task
from reason_decode.evaluation.verify import Located, verify

__all__ = [
    "TASKS",
    "Item",
    "Located",
    "Samples",
    "Task",
    "accuracy_curves",
    "accuracy_interval",
    "evaluate",
    "pass_at_k",
    "rerank",
    "verify",
]
