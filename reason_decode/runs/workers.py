"""A command in several processes of this machine, a shard each."""

import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from reason_decode.runs.executors import run_shards
from reason_decode.runs.resumable import ResumableRun
from reason_decode.io.journal import Names

__all__ = ["run_workers"]

POLL = 0.2  # seconds between two looks at what the processes have done


def run_workers(
    args: Namespace, out: str, begun: Mapping[str, Any], names: Names, total: int, **where: Any
) -> bool:
    """Run the command's shards in ``args.workers`` processes; whether they have ended.

    Without an executor they are processes of this machine, which this one waits for. Each has a
    GPU where there are some, else its share of the processor's cores; what it prints goes to
    ``OUT.run/worker-I.log``. What they have done is in the folder then, for a run of the whole to
    join.

    Args:
        args: the command's; ``--restart`` is done with when this returns.
        out: see ``ResumableRun``, as for the other arguments.
        begun: the settings.
        names: places of items that a row says are done.
        total: how many items there are.
        where: ``option`` and ``own``.

    Raises:
        OSError: a process failed; what it has done is kept.
        KeyboardInterrupt: the user stopped them.
    """
    with ResumableRun(out, begun, names, total, args, **where) as kept:
        done, left, folder = len(kept.done), kept.left, kept.folder
    args.restart = False
    if not left:
        return True
    if args.executor is not None:
        return run_shards(args, folder)
    tail = _Tail(folder, args.workers, names)
    tail.count()  # what was there before
    processes = [_start(args, folder, index) for index in range(1, args.workers + 1)]
    # Who ends this process ends those, too.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tqdm(total=total, initial=done, desc=args.command, disable=None) as bar:
            while any(process.poll() is None for process in processes):
                time.sleep(POLL)
                new = tail.count()
                done += new
                bar.update(new)
    except KeyboardInterrupt:
        _stop(processes)
        told = f"{done + tail.count()} of {total} are done and kept in {folder}"
        raise KeyboardInterrupt(told) from None
    except BaseException:
        _stop(processes)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    failed = [k for k, process in enumerate(processes, start=1) if process.returncode not in (0, 1)]
    for index in failed[:1]:
        log = folder / f"worker-{index}.log"
        said = log.read_text(errors="replace").strip().splitlines()[-5:]
        raise OSError(
            f"worker {index} of {args.workers} failed ({processes[index - 1].returncode}); what is "
            f"done is kept, and the same command goes on. The end of {log}:\n" + "\n".join(said)
        )
    return True


def _start(args: Namespace, folder: Path, index: int) -> subprocess.Popen[bytes]:
    options = ["--no-restart", "--workers", "1", "--shard", f"{index}/{args.workers}"]
    code = "import sys; from reason_decode.cli import main; sys.exit(main(sys.argv[1:]))"
    with (folder / f"worker-{index}.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", code, *args.argv, *options],
            env=_environment(index, args.workers),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # A Ctrl-C reaches them through this process alone, and once.
            start_new_session=True,
        )


def _environment(index: int, count: int) -> dict[str, str]:
    own = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    if torch.cuda.is_available():
        told = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = told.split(",") if told else list(map(str, range(torch.cuda.device_count())))
        return own | {"CUDA_VISIBLE_DEVICES": devices[(index - 1) % len(devices)]}
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return own | {"OMP_NUM_THREADS": str(max(1, (cores or 1) // count))}


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    for process in processes:
        process.wait()


class _Tail:
    """Counts what is new in the journals of the processes."""

    def __init__(self, folder: Path, count: int, names: Names) -> None:
        paths = [folder / f"part-{index}-of-{count}.jsonl" for index in range(1, count + 1)]
        self.read, self.names = dict.fromkeys(paths, 0), names

    def count(self) -> int:
        """How many items are done that were not at the last call."""
        new = 0
        for path, start in self.read.items():
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(start)
                whole = file.read().rpartition(b"\n")[0]
            if whole:
                self.read[path] = start + len(whole) + 1
                new += sum(len([*self.names(json.loads(line))]) for line in whole.split(b"\n"))
        return new
