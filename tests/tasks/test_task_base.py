import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reason_decode import tasks
from reason_decode.tasks import TASKS, Task, parse_row_range

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("rows", ["901", "5:5", "9:3", "-1:4", "a:b", "1:2:3", ""])
@pytest.mark.parametrize("name", TASKS)
def test_row_ranges_that_select_nothing_are_refused(tmp_path: Path, name: str, rows: str):
    with pytest.raises(ValueError, match="FIRST:LAST with FIRST < LAST"):
        TASKS[name].load(tmp_path / "missing", rows)


def test_a_row_range_is_half_open():
    assert parse_row_range("901:1001") == (901, 1001)
    assert parse_row_range(None) == (0, float("inf"))


def test_the_task_of_the_guide_loads_and_grades(tmp_path: Path):
    (code,) = re.findall(r"```python\n(.*?)```", tasks.__doc__ or "", flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "guide", "exec"), names)
    task: Task = names["TASK"]
    path = tmp_path / "questions.jsonl"
    lines = ['{"question": "1 + 1?", "answer": "2"}', '{"question": "2 + 2?", "answer": "4"}']
    path.write_text("\n".join(lines))
    (item,), rejected = task.load(path, "1:2")
    assert (item.prompt, item.target, rejected) == ("Question: 2 + 2?\nAnswer:", "4", [])
    assert task.grade(item, "The answer is 4.") and not task.grade(item, "The answer is 2.")


def test_importing_the_tasks_loads_neither_torch_nor_transformers():
    loaded = "*{'torch', 'transformers'} & set(sys.modules)"
    code = f"import sys; from reason_decode.tasks import TASKS; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
