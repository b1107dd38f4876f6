"""Tasks by name, and those of a user's own module."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from reason_decode.io.tables import is_hub_dataset
from reason_decode.tasks.base import Example, Task
from reason_decode.tasks.bbh_arithmetic import BBH_ARITHMETIC
from reason_decode.tasks.game24 import GAME24
from reason_decode.tasks.mathematics import aime_task, gsm8k_task, math_task
from reason_decode.tasks.multiple_choice import multiple_choice_task
from reason_decode.tasks.options import TaskOptions
from reason_decode.tasks.questions import Columns, question_task

__all__ = ["TASKS", "find_examples", "find_task"]

_TABLES: Mapping[str, Callable[[Columns], Task]] = {
    "gsm8k": gsm8k_task,
    "math": math_task,
    "aime": aime_task,
    "multiple-choice": multiple_choice_task,
    "questions": lambda columns: question_task(columns=columns),
}
"""Tasks whose problems are rows of any table."""

TASKS: dict[str, Task] = {
    **{name: make(Columns()) for name, make in _TABLES.items()},
    **{task.name: task for task in (GAME24, BBH_ARITHMETIC)},
}
"""Built-in tasks by name."""


def find_task(options: TaskOptions) -> Task:
    """The task that the options name.

    Args:
        options: its name, and the columns of its table.

    Raises:
        ValueError: there is no such task, or it has no columns to choose.
        ImportError: a user's own module cannot be imported.
    """
    asked = Columns(options.question_column, options.answer_column, options.subset, options.split)
    if options.task in _TABLES:
        task = _TABLES[options.task](asked)
    elif asked != Columns():
        given = [name for name, value in vars(asked).items() if value is not None]
        raise ValueError(
            f"got {' and '.join(given)} for the task {options.task}, which reads a form of its "
            f"own; columns, subset and split are of {', '.join(_TABLES)}"
        )
    elif options.task in TASKS:
        task = TASKS[options.task]
    else:
        task = _own_task(options.task)
    if options.prompt_template is not None:
        task = replace(task, user_template=options.prompt_template)
    return task


def find_examples(task: Task, options: TaskOptions) -> Sequence[Example]:
    """The solved problems that prompts are to show.

    Args:
        task: from ``find_task``.
        options: how many, and the file that has them.

    Raises:
        ValueError: there are too few.
        OSError: the file cannot be read.
    """
    if not options.few_shot:
        return ()
    if options.few_shot_input is None:
        found, where = task.examples, f"the task {task.name}"
    else:
        items, _ = _examples_task(task, options).load(options.few_shot_input, None)
        found = [Example(item, _solution(item.target, item.extra)) for item in items]
        where = options.few_shot_input
    if len(found) < options.few_shot:
        raise ValueError(
            f"got few_shot={options.few_shot}, and {where} has {len(found)} solved problems; lower "
            "it, or name a file of solved problems (--few-shot-input)"
        )
    return found[: options.few_shot]


def _examples_task(task: Task, options: TaskOptions) -> Task:
    """The task that reads solved problems: a file, or the train split of a Hub dataset."""
    if options.task not in _TABLES:
        return task
    if is_hub_dataset(str(options.few_shot_input)):
        return find_task(replace(options, split="train"))
    return find_task(replace(options, subset=None, split=None))


def _solution(target: str, extra: Mapping[str, Any]) -> str:
    return str(extra.get("solution") or f"The answer is \\boxed{{{target}}}.")


def _own_task(name: str) -> Task:
    """The task that ``module:name`` or ``file.py:name`` names."""
    module, colon, attribute = name.rpartition(":")
    if not colon or not module or not attribute.isidentifier():
        raise ValueError(
            f"got the task {name!r}; need one of {', '.join(TASKS)}, or one of your own as "
            "module:name or file.py:name"
        )
    found: Any = getattr(_module(module), attribute, None)
    if not isinstance(found, Task):
        raise ValueError(
            f"got the task {name!r}, which is {found!r:.60}; need a reason_decode.tasks.Task"
        )
    return found


def _module(name: str) -> Any:
    """A module by its dotted name, or by its file; the current folder is searched, too."""
    if not name.endswith(".py"):
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.insert(0, str(Path.cwd()))  # a console script does not search it
        return import_module(name)
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"there is no file {name} with a task")
    spec = spec_from_file_location(f"reason_decode_task_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    # Dataclasses look their module up by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
