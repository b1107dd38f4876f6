import signal
import subprocess
import sys

import pytest

from reason_decode.runs.workers import _ending_signals, _stop

LOOP = "import time\nprint('on', flush=True)\nwhile True: time.sleep(0.01)"


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("ignored", [False, True])
def test_workers_end_with_their_parent(ignored: bool):
    """Run by ``&`` in a script, which ignores SIGINT, workers went on, and the parent waited."""
    # This run itself may be one of a script.
    usual = signal.SIG_IGN if ignored else signal.default_int_handler
    before = signal.signal(signal.SIGINT, usual)
    try:
        worker = subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE)
        assert worker.stdout is not None and worker.stdout.readline() == b"on\n"
        _stop([worker])
    finally:
        signal.signal(signal.SIGINT, before)
    worker.stdout.close()
    assert worker.returncode == (-signal.SIGTERM if ignored else -signal.SIGINT)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_nohup_is_respected():
    """A run with workers ended with its terminal, though ``nohup`` had started it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # this run itself may be under nohup
    try:
        assert signal.SIGHUP in _ending_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert _ending_signals() == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before)
