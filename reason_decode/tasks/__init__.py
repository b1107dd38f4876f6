r"""Tasks: problems from a file, the prompt of each, and a grader.

| task | problems | answers |
|---|---|---|
| `gsm8k` | word problems, `{"question", "answer"}` | numbers |
| `math` | MATH-500's, `{"problem", "answer"}` or a boxed `solution` | LaTeX |
| `aime` | `{"problem", "answer"}` | whole numbers |
| `multiple-choice` | MMLU, MMLU-Pro, ARC, CommonsenseQA, GPQA, AQuA, BIG-Bench Hard | letters |
| `game24` | Tree of Thoughts' `24.csv` | expressions |
| `bbh-arithmetic` | BIG-Bench Hard's `multistep_arithmetic_two.json` | numbers |
| `questions` | any table of questions and answers | by `same_answer` |

A table is a file (JSON Lines, JSON, CSV, TSV, Parquet) or a dataset of the Hub (with `datasets`
installed). Its columns are found by their usual names, or named:

```
reason-decode eval --task gsm8k --input test.jsonl --limit 50 --strategy greedy \
    --model Qwen/Qwen2.5-1.5B-Instruct
reason-decode eval --task gsm8k --input openai/gsm8k --subset main --few-shot 4 --strategy greedy \
    --model Qwen/Qwen2.5-1.5B --no-chat
reason-decode eval --input mine.csv --question-column Frage --answer-column Antwort \
    --strategy self-consistency --n 8 --model Qwen/Qwen2.5-1.5B-Instruct
```

A chat model is asked in a conversation: the question, and an instruction to reason step by step and
to put the answer within `\boxed{}` (`--prompt-template` changes it). `--few-shot 4` shows four
solved problems first, as turns of the conversation; gsm8k has some of its own, `--few-shot-input`
takes any. A base model (`--no-chat`) continues `Question: ...\nAnswer:`. Scorers are asked about
the question alone.

## A task of your own

`--task module:name` or `--task file.py:name` names a `Task` in a module of yours. This one reads a
table, with a grader and an instruction of its own:

```python
from dataclasses import replace

from reason_decode.tasks import question_task


def grade(item, text):
    return item.target.lower() in text.lower()


TASK = replace(
    question_task("capitals", max_new_tokens=32),
    grade=grade,
    user_template="{question} Answer with one word.",
)
```

A task of any other form is a `Task` of three functions: `load` reads a file, `row_to_item` one row
of samples, `grade` decides. See `game24.py`.

`countdown` and `arithmetic` hold the text of solutions that the packaged models write: they
format prompts and steps, read them back, and grade each step.
"""

from typing import TYPE_CHECKING

from reason_decode.core.lazy import lazy_imports

if TYPE_CHECKING:
    from reason_decode.tasks.base import Example, Item, Task, parse_row_range, require_items
    from reason_decode.tasks.bbh_arithmetic import arithmetic_item
    from reason_decode.tasks.find import TASKS, find_examples, find_task
    from reason_decode.tasks.game24 import countdown_item
    from reason_decode.tasks.options import TaskOptions
    from reason_decode.tasks.prompts import chat_prompt, text_prompt
    from reason_decode.tasks.questions import Columns, question_task

__all__ = [
    "TASKS",
    "Columns",
    "Example",
    "Item",
    "Task",
    "TaskOptions",
    "arithmetic_item",
    "chat_prompt",
    "countdown_item",
    "find_examples",
    "find_task",
    "parse_row_range",
    "question_task",
    "require_items",
    "text_prompt",
]

# Options are parsed without the answers' grammar, which takes longer than all the rest.
__getattr__, __dir__ = lazy_imports(
    __name__,
    {
        "reason_decode.tasks.base": (
            "Example",
            "Item",
            "Task",
            "parse_row_range",
            "require_items",
        ),
        "reason_decode.tasks.bbh_arithmetic": ("arithmetic_item",),
        "reason_decode.tasks.find": (
            "TASKS",
            "find_examples",
            "find_task",
        ),
        "reason_decode.tasks.game24": ("countdown_item",),
        "reason_decode.tasks.options": ("TaskOptions",),
        "reason_decode.tasks.prompts": (
            "chat_prompt",
            "text_prompt",
        ),
        "reason_decode.tasks.questions": (
            "Columns",
            "question_task",
        ),
    },
)
