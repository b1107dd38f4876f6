"""Measuring: tasks with their graders, metrics, runs over a task, reranking of given samples."""

from reason_decode.evaluation.metrics import accuracy_interval, pass_at_k
from reason_decode.evaluation.rerank import rerank
from reason_decode.evaluation.runner import evaluate
from reason_decode.evaluation.tasks import TASKS, Item, Task

__all__ = [
    "TASKS",
    "Item",
    "Task",
    "accuracy_interval",
    "evaluate",
    "pass_at_k",
    "rerank",
]
