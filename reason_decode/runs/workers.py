"""Run the shards of a command in several processes of this machine."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from reason_decode.io.journal import Keys
from reason_decode.runs.executors import run_tasks
from reason_decode.runs.resumable import ResumableRun
from reason_decode.runs.shards import inherited_environment, shard_command

__all__ = ["run_workers"]

POLL_SECONDS = 0.2


def run_workers(run: ResumableRun, command: Sequence[str]) -> bool:
    """Run the shards of a command in ``run.options.workers`` processes, if that is more than one.

    Without an executor they are processes of this machine, and this call waits for them. Each gets
    one GPU if there are any, else its share of the processor's cores. Its output goes to
    ``worker-I.log`` in the folder of the run, its results to journals there, which ``run`` joins
    when it is entered next.

    Args:
        run: the run, not entered.
        command: see ``shard_command``.

    Returns:
        Whether the shards have ended: Slurm's jobs are only submitted.

    Raises:
        OSError: a process failed; the results so far are kept.
        KeyboardInterrupt: the user stopped them.
    """
    options = run.options
    if options.workers == 1:
        return True
    with run:
        done, remains = len(run.done), run.remains
    if not remains:
        return True
    if options.executor is not None:
        return run_tasks(command, options, run.folder)
    counter = _JournalCounter(run.folder, options.workers, run.keys)
    counter.count_new()  # those of an earlier run
    processes = [
        _start(command, run.folder, index, options.workers)
        for index in range(1, options.workers + 1)
    ]
    before = {x: signal.signal(x, signal.default_int_handler) for x in _ending_signals()}
    try:
        with tqdm(total=run.total, initial=done, unit="item", disable=None) as bar:
            while any(process.poll() is None for process in processes):
                time.sleep(POLL_SECONDS)
                new = counter.count_new()
                done += new
                bar.update(new)
    except KeyboardInterrupt:
        _stop(processes)
        kept = f"{done + counter.count_new()} of {run.total} are done and kept in {run.folder}"
        raise KeyboardInterrupt(kept) from None
    except BaseException:
        _stop(processes)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    _raise_first_failure(processes, run.folder)
    return True


def _start(command: Sequence[str], folder: Path, index: int, count: int) -> subprocess.Popen[bytes]:
    with (folder / f"worker-{index}.log").open("wb") as log:
        return subprocess.Popen(
            shard_command(command, index, count),
            env=_environment(index, count),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # Out of the terminal's process group: a Ctrl-C reaches a worker once, from `_stop`.
            start_new_session=True,
        )


def _environment(index: int, count: int) -> dict[str, str]:
    """Environment of a worker: one GPU, or a share of the cores."""
    import torch  # here, so that a command line is parsed without loading torch

    environment = inherited_environment()
    if torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = visible.split(",") if visible else [*map(str, range(torch.cuda.device_count()))]
        return environment | {"CUDA_VISIBLE_DEVICES": devices[(index - 1) % len(devices)]}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return environment | {"OMP_NUM_THREADS": str(max(1, (cores or 1) // count))}


def _ending_signals() -> list[signal.Signals]:
    """The signals that end this process, and so must end its workers, beside SIGINT.

    SIGHUP is a closed terminal or connection, which ``nohup`` has ignored.
    """
    found = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    return [x for x in found if x is not None and signal.getsignal(x) != signal.SIG_IGN]


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    """End the workers, and wait for them."""
    # A script starts what it runs in the background with SIGINT ignored, and workers inherit that.
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM if ignored else signal.SIGINT)
    for process in processes:
        process.wait()


def _raise_first_failure(processes: list[subprocess.Popen[bytes]], folder: Path) -> None:
    for index, process in enumerate(processes, start=1):
        if process.returncode not in (0, 1):
            log = folder / f"worker-{index}.log"
            last = log.read_text(errors="replace").strip().splitlines()[-5:]
            raise OSError(
                f"worker {index} of {len(processes)} failed ({process.returncode}); the results so "
                f"far are kept, and the same command resumes. The end of {log}:\n" + "\n".join(last)
            )


class _JournalCounter:
    """Counts the items that workers append to their journals.

    Args:
        folder: of the run.
        count: number of workers.
        keys: see ``Journal``.
    """

    def __init__(self, folder: Path, count: int, keys: Keys) -> None:
        paths = [folder / f"part-{index}-of-{count}.jsonl" for index in range(1, count + 1)]
        self.offsets, self.keys = dict.fromkeys(paths, 0), keys

    def count_new(self) -> int:
        """Number of items that were added since the last call."""
        new = 0
        for path, offset in self.offsets.items():
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(offset)
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self.offsets[path] = offset + len(whole) + 1
                new += sum(len([*self.keys(json.loads(line))]) for line in whole.split(b"\n"))
        return new
