"""Measuring: tasks, graders and metrics; runs over a task, given samples reranked, N varied."""

from reason_decode.evaluation.curves import Samples, accuracy_curves
from reason_decode.evaluation.metrics import accuracy_interval, pass_at_k
from reason_decode.evaluation.rerank import rerank
from reason_decode.evaluation.runner import evaluate
from reason_decode.evaluation.tasks import TASKS, Item, Task

__all__ = [
    "TASKS",
    "Item",
    "Samples",
    "Task",
    "accuracy_curves",
    "accuracy_interval",
    "evaluate",
    "pass_at_k",
    "rerank",
]
