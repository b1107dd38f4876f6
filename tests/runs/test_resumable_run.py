import json
import re
from pathlib import Path
from typing import Any

import pytest

from reason_decode import runs
from reason_decode.runs.options import RunOptions, Shard
from reason_decode.runs.resumable import ResumableRun, item_indices
from reason_decode.runs.settings import run_settings

TOTAL = 4


def row_keys(row: Any) -> list[int]:
    return [int(row["id"])]


def rows_run(folder: Path, seed: int = 0, **options: Any) -> ResumableRun:
    """A run whose output consists of its rows."""
    run_options = RunOptions(**options)
    return ResumableRun(
        folder / "out.jsonl", {"seed": seed}, row_keys, TOTAL, run_options, in_place=True
    )


def report_run(folder: Path, **options: Any) -> ResumableRun:
    """A run whose output is made of its rows at the end."""
    return ResumableRun(
        folder / "out.json", {"seed": 0}, item_indices, TOTAL, RunOptions(**options)
    )


def test_a_run_may_be_entered_again_and_knows_its_rows(tmp_path: Path):
    run = rows_run(tmp_path)
    with run:
        assert run.remains and run.done == set()
        run.append({"id": 0}, {"id": 1})
    with run:
        assert run.done == {0, 1} and [row["id"] for row in run.rows()] == [0, 1]
        run.append({"id": 2}, {"id": 3})
        assert not run.remains


def test_the_single_shard_joins_all_shards_in_order(tmp_path: Path):
    for index, ids in ((2, (1, 3)), (1, (0, 2))):
        with rows_run(tmp_path, shard=Shard(index, 2)) as run:
            run.append(*({"id": k} for k in ids))
            assert run.progress_line().startswith(f"shard {index}/2: ")
    with rows_run(tmp_path) as run:
        assert not run.remains
        run.gather(range(TOTAL))
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [0, 1, 2, 3]
    assert [x.name for x in (tmp_path / "out.jsonl.run").iterdir()] == ["settings.json"]


def test_without_output_rows_are_kept_in_memory_and_shards_are_refused():
    with ResumableRun(None, {}, row_keys, TOTAL) as run:
        run.append({"id": 0})
        assert run.done == {0} and [*run.rows()] == [{"id": 0}]
        run.finish()
    with pytest.raises(ValueError, match="keep their results beside the output"):
        ResumableRun(None, {}, row_keys, TOTAL, RunOptions(workers=2))


def test_other_settings_are_refused_with_both_values(tmp_path: Path):
    with rows_run(tmp_path) as run:
        run.append({"id": 0})
    with pytest.raises(ValueError, match=r"\(seed: 0, now 1\)"), rows_run(tmp_path, seed=1):
        pass
    with rows_run(tmp_path, seed=1, restart=True) as run:
        assert run.done == set()


def test_a_second_process_cannot_enter_or_restart_the_run(tmp_path: Path):
    with rows_run(tmp_path) as run:
        run.append({"id": 0})
        for restart in (False, True):
            with (
                pytest.raises(ValueError, match="another process is writing"),
                rows_run(tmp_path, restart=restart),
            ):
                pass
    with rows_run(tmp_path) as run:
        assert run.done == {0}


def test_rows_without_settings_are_refused(tmp_path: Path):
    # The story: an output was copied without its .run folder and resumed with another strategy.
    (tmp_path / "out.jsonl").write_text('{"id": 0}\n')
    with pytest.raises(ValueError, match="take another output"), rows_run(tmp_path):
        pass
    with rows_run(tmp_path, restart=True) as run:
        assert run.done == set()


@pytest.mark.parametrize("foreign", ["my notes", "my notes\n", '{"prompt": "p"}\n'])
def test_restart_deletes_no_foreign_file(tmp_path: Path, foreign: str):
    (tmp_path / "out.jsonl").write_text(foreign)
    with (
        pytest.raises(ValueError, match="is no result of this command"),
        rows_run(tmp_path, restart=True),
    ):
        pass
    assert (tmp_path / "out.jsonl").read_text() == foreign


@pytest.mark.parametrize("restart", [False, True])
def test_a_folder_of_the_users_is_refused_and_kept(tmp_path: Path, restart: bool):
    # The story: a folder named results.json.run was removed with everything in it.
    folder = tmp_path / "out.json.run"
    folder.mkdir()
    (folder / "precious.txt").write_text("x")
    with (
        pytest.raises(ValueError, match="is not one of a run"),
        report_run(tmp_path, restart=restart),
    ):
        pass
    assert (folder / "precious.txt").read_text() == "x"


def test_a_finished_run_leaves_files_of_others_in_its_folder(tmp_path: Path):
    with report_run(tmp_path) as run:
        run.append({"items": [0, 1]})
        assert run.done == {0, 1}
        (run.folder / "precious.txt").write_text("x")
        run.finish()
    assert [x.name for x in run.folder.iterdir()] == ["precious.txt"]
    other = tmp_path / "clean"
    other.mkdir()
    with report_run(other) as run:
        run.finish()
    assert not run.folder.exists()


def test_settings_have_fingerprints_of_models_and_a_hash_of_items(tmp_path: Path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "weights").write_text("1")
    options = {"model": str(model), "scorer": None, "n": 8}
    before = run_settings(options, models=["model", "scorer"], items=["a"])
    assert before["n"] == 8 and [*before["weights"]] == ["model"]
    (model / "weights").write_text("2")
    after = run_settings(options, models=["model", "scorer"], items=["b"])
    assert before["weights"] != after["weights"] and before["items"] != after["items"]


def test_the_code_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", runs.__doc__ or "", flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "guide", "exec"), names)
    assert names["rows"] == [{"items": [k], "lengths": [7]} for k in range(2)]
    assert list(tmp_path.iterdir()) == []
