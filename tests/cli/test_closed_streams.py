import sys

import pytest

from reason_decode.cli import main


@pytest.mark.parametrize("argv", [["trace"], ["trace", "--help"], ["--help"], ["nothing"], []])
def test_a_closed_terminal_is_no_traceback(monkeypatch: pytest.MonkeyPatch, argv: list[str]):
    """A missing option, told where there is no standard output, was an AttributeError."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(argv) in (0, 2)
