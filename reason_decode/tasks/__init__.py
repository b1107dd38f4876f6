r"""Benchmarks: problems from a file, the prompt of each, and a grader.

A task is one file with three functions and a ``Task`` that names them; ``TASKS`` holds those that
commands know by name. This one reads a question and an answer from each line of a JSON Lines file:

```python
from reason_decode.core.answers import reference_answer, states_answer
from reason_decode.io.jsonl import read_jsonl
from reason_decode.tasks import Item, Task, parse_row_range, require_items


def row_to_item(row):
    prompt = f"Question: {row['question']}\nAnswer:"
    return Item(row.get("id", 0), prompt, reference_answer(row["answer"]))


def load(path, rows):
    first, last = parse_row_range(rows)
    found, rejected = read_jsonl(path)
    items = [row_to_item(row) for number, row in found if first <= number < last]
    return require_items(items, rejected, path, rows), rejected


def grade(item, text):
    return states_answer(text, item.target)


TASK = Task("my-questions", load, row_to_item, grade, max_new_tokens=512)
```

``countdown`` and ``arithmetic`` hold the text of solutions that the packaged models write: they
format prompts and steps, read them back, and grade each step.
"""

from reason_decode.tasks.base import Item, Task, parse_row_range, require_items
from reason_decode.tasks.bbh_arithmetic import BBH_ARITHMETIC, arithmetic_item
from reason_decode.tasks.game24 import GAME24, countdown_item

__all__ = [
    "TASKS",
    "Item",
    "Task",
    "arithmetic_item",
    "countdown_item",
    "parse_row_range",
    "require_items",
]

TASKS: dict[str, Task] = {task.name: task for task in (GAME24, BBH_ARITHMETIC)}
"""Built-in tasks by name."""
