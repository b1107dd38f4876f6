"""Commands that write, broken at random, against the same commands unbroken.

Each trial runs one command in a forked process, breaks it once or more, runs it to its end, and
compares what it wrote with an unbroken run. Forked, for a start of Python with torch takes seconds,
in which no file is written.
"""

import fcntl
import gc
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import reason_decode
from reason_decode.cli import main
from tests.robustness.soak_commands import commands, outputs, preparations, write_inputs
from tests.server import served

SECONDS = 60.0
"""Longest run of a command; one that takes longer hangs."""
PIPE_SECONDS = 5.0
"""Longest time until a message has passed the pipe of what is printed."""
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass
class Counts:
    """Figures of a soak.

    Args:
        trials: trials by command.
        breaks: breaks by kind.
        refused: breaks after which the command ended by itself, with a message.
        second: second processes that were refused, by command.
        faults: what was lost, doubled or different, or hung.
        seconds: duration.
    """

    trials: Counter[str] = field(default_factory=Counter)
    breaks: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    second: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        trials = ", ".join(f"{name} {count}" for name, count in sorted(self.trials.items()))
        breaks = ", ".join(f"{name} {count}" for name, count in sorted(self.breaks.items()))
        return (
            f"{self.trials.total()} trials in {self.seconds:.0f} s ({trials}); "
            f"{self.breaks.total()} breaks ({breaks}), {self.refused} of them ended by a message; "
            f"{self.second.total()} second processes refused, of {len(self.second)} commands; "
            f"{len(self.faults)} faults"
        )


def start(argv: list[str], log: Path, limit: int | None = None, stop_at_lock: bool = False) -> int:
    """The process id of a command that runs in a fork.

    Args:
        argv: the command line.
        log: file for what it prints.
        limit: size of a file, in bytes, beyond which writes fail as on a full disk.
        stop_at_lock: whether it stops itself (SIGSTOP) once it has locked its first file.
    """
    child = os.fork()
    if child:
        return child
    status = 99
    try:
        os.setsid()
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(kind, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # A pipe: a limit of the size of files is not to reach what is printed.
        with log.open("ab") as file:
            printed = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
        assert printed.stdin is not None
        os.dup2(printed.stdin.fileno(), 1)
        os.dup2(printed.stdin.fileno(), 2)
        # Where pytest captures output, Python's own streams are files of pytest.
        sys.stdout, sys.stderr = (open(k, "w", buffering=1, closefd=False) for k in (1, 2))
        if limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        if stop_at_lock:
            _stop_at_lock()
        status = main(argv)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _stop_at_lock() -> None:
    flock = fcntl.flock

    def stopping(file: IO[bytes], operation: int) -> None:
        flock(file, operation)
        fcntl.flock = flock
        os.kill(os.getpid(), signal.SIGSTOP)

    fcntl.flock = stopping


def wait(child: int, seconds: float) -> int | None:
    """The exit status of a process, negative for a signal; ``None`` if it runs for longer."""
    return wait_and_measure(child, seconds)[0]


def wait_and_measure(child: int, seconds: float) -> tuple[int | None, int]:
    """The exit status of a process, as ``wait`` gives it, and the most KiB that it had."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status, used = os.wait4(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), used.ru_maxrss
        time.sleep(0.002)
    return None, 0


@contextmanager
def full_disk(folder: Path, size: int) -> Iterator[bool]:
    """A folder on a file system of so many bytes; false where it cannot be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={max(1, size // 1024)}k", "tmpfs", str(folder)]
    mounted = os.getuid() == 0 and not subprocess.run(mount, capture_output=True).returncode
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


class Soak:
    """Trials of random commands and breaks.

    Args:
        folder: an empty folder.
        seed: seed of the choices.
        server: address of a server that drops connections at random.
        kills: break by ``kill -9`` alone, so many times; ``None``: in all ways.
    """

    def __init__(self, folder: Path, seed: int, server: str, kills: int | None = None) -> None:
        self.folder, self.random, self.counts = folder, random.Random(seed), Counts()
        self.kills = kills
        self.expected: dict[str, tuple[dict[str, Any], float, int]] = {}
        (folder / "data").mkdir()
        write_inputs(folder / "data")
        self.commands = commands(folder / "data", server)
        for argv in preparations(folder / "data"):
            status = wait(start(argv, folder / "preparation.log"), SECONDS)
            assert status == 0, (folder / "preparation.log").read_text()[-2000:]

    def run(self, seconds: float, say: Callable[[str], None]) -> Counts:
        """Trials until the time is up, or the kills are done."""
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            if self.kills is not None and self.counts.breaks["SIGKILL"] >= self.kills:
                break
            names = list(self.commands)
            # Each command once, then at random.
            name = names[len(self.expected)] if len(self.expected) < len(names) else (
                self.random.choice(names)
            )  # fmt: skip
            self.trial(name)
            self.counts.seconds = time.monotonic() - begin
            say(f"{self.counts.seconds:5.0f} s: {name}; {len(self.counts.faults)} faults")
        return self.counts

    def trial(self, name: str, kinds: Sequence[str] | None = None) -> None:
        """One command, broken, run to its end, and compared.

        Args:
            name: of the command.
            kinds: how it is broken, break by break; ``None``: chosen at random.
        """
        if name not in self.expected:
            self.expected[name] = self._unbroken(name)
        expected, seconds, size = self.expected[name]
        place = self.folder / f"trial-{self.counts.trials.total()}"
        place.mkdir()
        self.counts.trials[name] += 1
        for kind in kinds or self._kinds():
            getattr(self, f"_{kind}")(name, place, seconds, size)
        status = self._finish(name, place)
        if status != 0:
            self._fault(name, place, f"ended with {status} after it was broken")
        else:
            found = outputs(place / "out")
            if found != expected:
                names = [x for x in {*found, *expected} if found.get(x) != expected.get(x)]
                self._fault(name, place, f"wrote others than an unbroken run: {sorted(names)}")
        if not self.counts.faults:
            shutil.rmtree(place)

    def _kinds(self) -> list[str]:
        kinds = ("kill", "kill", "kill", "limit", "disk", "torn", "second")
        count = self.random.randrange(1, 4)
        return ["kill" if self.kills else self.random.choice(kinds) for _ in range(count)]

    def _unbroken(self, name: str) -> tuple[dict[str, Any], float, int]:
        place = self.folder / f"whole-{len(self.expected)}"
        place.mkdir()
        begin = time.monotonic()
        status = self._finish(name, place)
        if status != 0:
            raise AssertionError(f"{name}: {status}: {(place / 'log').read_text()[-2000:]}")
        seconds = time.monotonic() - begin
        sizes = [x.stat().st_size for x in place.rglob("*") if x.is_file()]
        return outputs(place / "out"), seconds, sum(sizes)

    def _argv(self, name: str, out: Path) -> list[str]:
        out.mkdir(exist_ok=True)
        folder = name.startswith(("train", "mine"))
        output = out / "model" if folder else out / "out.json"
        return [*self.commands[name], "--output", str(output)]

    def _finish(self, name: str, place: Path) -> int | None:
        child = start(self._argv(name, place / "out"), place / "log")
        status = wait(child, SECONDS)
        if status is None:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
        return status

    def _kill(self, name: str, place: Path, seconds: float, size: int) -> None:
        """A signal at a random moment."""
        kind = self.random.choice(SIGNALS) if self.kills is None else signal.SIGKILL
        child = start(self._argv(name, place / "out"), place / "log")
        status = wait(child, self.random.uniform(0, seconds))
        if status is None:
            os.kill(child, kind)
            status = wait(child, SECONDS)
            self.counts.breaks[kind.name] += 1
            if status is None:
                self._fault(name, place, f"hung after {kind.name}")
            try:
                os.killpg(child, signal.SIGKILL)  # its workers, which end by themselves a bit later
            except ProcessLookupError:
                pass
            if status is None:
                os.waitpid(child, 0)

    def _second(self, name: str, place: Path, seconds: float, size: int) -> None:
        """A second process on the same output, while the first one stands still."""
        first = start(self._argv(name, place / "out"), place / "log")
        if wait(first, self.random.uniform(0, seconds)) is None:
            os.kill(first, signal.SIGSTOP)
            self._beside(name, place, first)

    def _locked(self, name: str, place: Path, seconds: float, size: int) -> None:
        """A second process on the same output, while the first one stands still with its lock."""
        first = start(self._argv(name, place / "out"), place / "log", stop_at_lock=True)
        _, status = os.waitpid(first, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            self._beside(name, place, first)

    def _beside(self, name: str, place: Path, first: int) -> None:
        log = place / "second.log"
        second = start(self._argv(name, place / "out"), log)
        status = self._ended("second process", name, place, second)
        end = time.monotonic() + PIPE_SECONDS
        while status == 2 and time.monotonic() < end:
            if "another process is writing" in log.read_text():
                self.counts.second[name] += 1
                break
            time.sleep(0.01)  # for what the pipe still holds
        log.unlink()
        os.kill(first, signal.SIGCONT)
        if wait(first, SECONDS) is None:
            os.killpg(first, signal.SIGKILL)
            os.waitpid(first, 0)
            self._fault(name, place, "hung beside a second process")

    def _torn(self, name: str, place: Path, seconds: float, size: int) -> None:
        """A kill, after which the last line of a journal is torn, as by a crash of the machine."""
        self._kill(name, place, seconds, size)
        out = place / "out"
        journals = [x for x in out.rglob("*.jsonl") if "journal" in x.parts or ".run" in str(x)]
        if name in ("generate", "label", "generate --engine"):
            journals.append(out / "out.json")
        torn = [x for x in journals if x.is_file() and x.stat().st_size > 1]
        if torn:
            path = self.random.choice(sorted(torn))
            last = path.read_bytes().rstrip(b"\n").rfind(b"\n") + 1
            os.truncate(path, self.random.randrange(last, path.stat().st_size))
            self.counts.breaks["torn line"] += 1

    def _limit(self, name: str, place: Path, seconds: float, size: int) -> None:
        """A largest size of files, beyond which writes fail."""
        limit = self.random.randrange(1, max(2, size))
        child = start(self._argv(name, place / "out"), place / "log", limit)
        self._ended("file limit", name, place, child)

    def _disk(self, name: str, place: Path, seconds: float, size: int) -> None:
        """A disk that is full; what it holds then moves to one that is not."""
        small, out = place / "small", place / "out"
        with full_disk(small, self.random.randrange(1024, max(2048, size))) as mounted:
            if mounted and not out.exists():
                argv = self._argv(name, small / "out")
                self._ended("full disk", name, place, start(argv, place / "log"))
                shutil.copytree(small / "out", out, dirs_exist_ok=True)
        shutil.rmtree(small, ignore_errors=True)

    def _ended(self, kind: str, name: str, place: Path, child: int) -> int | None:
        status = wait(child, SECONDS)
        self.counts.breaks[kind] += 1
        if status is None:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            self._fault(name, place, f"hung: {kind}")
        elif status == 99:
            self._fault(name, place, f"ended with a traceback: {kind}")
        self.counts.refused += status in (1, 2)
        return status

    def _fault(self, name: str, place: Path, what: str) -> None:
        log = place / "log"
        last = log.read_text(errors="replace")[-1500:] if log.exists() else ""
        self.counts.faults.append(f"{name} ({place.name}): {what}\n{last}")


def preload() -> None:
    """Import what commands import, which takes a forked process seconds; compute nothing."""
    import torch
    import transformers

    torch.set_num_threads(1)
    for name in ("Trainer", "TrainingArguments", "PreTrainedTokenizerFast"):
        getattr(transformers, name)
    for kind in ("CausalLM", "TokenClassification", "SequenceClassification"):
        getattr(transformers, f"LlamaFor{kind}")
    for path in sorted(Path(reason_decode.__path__[0], "cli").glob("*.py")):
        import_module(f"reason_decode.cli.{path.stem}")
    for name in (
        *("serving.from_options", "strategies.from_options", "training.trainer", "mining.stages"),
        *("scorers.loading", "scorers.process", "training.prm", "training.active", "tiny"),
        *("training.ngram_ranker", "mining.run", "evaluation.rerank", "training.label_run"),
    ):
        import_module(f"reason_decode.{name}")
    for name in ("accelerate", "peft", "matplotlib.figure", "rapidfuzz", "datasketch"):
        import_module(name)


def soak(
    folder: Path,
    seconds: float,
    seed: int,
    kills: int | None = None,
    say: Callable[[str], None] = print,
) -> Counts:
    """The counts of trials for so many seconds.

    Args:
        folder: an empty folder.
        seconds: duration.
        seed: seed of the choices.
        kills: break by ``kill -9`` alone, and end after so many.
        say: gets a line after each trial.
    """
    drops = random.Random(seed)
    bad = ("drop", "rubbish", "short", ("raw", "reset"), (500, {}, "stop"))

    def behave(prompt: str, count: int) -> Any:
        return drops.choice(bad) if drops.random() < 0.3 else None

    preload()
    with served(behave) as (server, _):
        trials = Soak(folder, seed, server, kills)
        gc.collect()
        gc.freeze()  # forks share the memory of what is loaded
        return trials.run(seconds, say)
