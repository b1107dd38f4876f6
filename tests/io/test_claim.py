import os
from pathlib import Path

import pytest

from reason_decode.cli import main
from reason_decode.io.claim import claimed

pytest.importorskip("fcntl", reason="files are locked on POSIX systems")


def test_a_claimed_path_is_refused_until_it_is_released(tmp_path: Path):
    path = tmp_path / "out.json"
    with claimed(path), pytest.raises(ValueError, match="another process is writing .*out.json"):
        with claimed(path):
            pass
    with claimed(path):
        assert [x.name for x in tmp_path.iterdir()] == [".out.json.lock"]
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path):
    """`kill -9` leaves the file, but nobody holds it."""
    path = tmp_path / "out.json"
    child = os.fork()
    if not child:
        with claimed(path):
            os._exit(0)
    os.waitpid(child, 0)
    assert [x.name for x in tmp_path.iterdir()] == [".out.json.lock"]
    with claimed(path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "argv",
    [["rerank"], ["trace"], ["train", "ngram-ranker"], ["train", "calibration"]],
    ids=" ".join,
)
def test_a_second_process_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str]
):
    """Both wrote their result, and that of the later one was kept."""
    source, out = tmp_path / "in.jsonl", tmp_path / "out"
    source.write_text('{"prompt": "1 + 1 =", "samples": ["1", "2"], "answer": "2"}\n')
    with claimed(out):
        assert main([*argv, "--input", str(source), "--output", str(out)]) == 2
    assert "another process is writing" in capsys.readouterr().err
    assert not out.exists()
