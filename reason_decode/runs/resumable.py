"""Runs of many items: what is done is kept beside the output, and a run goes on where it was."""

import json
import re
import shutil
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from reason_decode.runs.executors import EXECUTORS
from reason_decode.io.console import printable
from reason_decode.runs.batches import SINGLE_SHARD, Batches, Shard
from reason_decode.io.journal import Journal, Names, begin, lock, read_rows
from reason_decode.io.jsonl import replacing

__all__ = [
    "RESUME_EPILOG",
    "ResumableRun",
    "add_long_run",
    "check_long_run",
    "digest",
    "done_items",
    "settings",
    "tell",
]

# Of no matter to the results, whatever the command.
IGNORED_IN_SETTINGS = {
    *("command", "run", "argv", "json", "input", "output", "data", "shard", "workers", "restart"),
    *("executor", "executor_options", "endpoint", "key", "concurrency", "attempts"),
}
# Options that name models, of which a folder's content is looked at too.
MODELS = ("model", "prm", "rationalyst", "judge")
MEBIBYTE = 2**20
TOLD = 10  # items that could not be done, of which each is told
RESUME_EPILOG = "A run that was stopped, however it was, goes on when the same command is given again."


def add_long_run(parser: ArgumentParser, out: str) -> None:
    """Add the options; ``out`` is the one that names the output."""
    parser.add_argument(
        "--shard",
        type=_shard,
        default=SINGLE_SHARD,
        metavar="I/N",
        help="run only every N-th batch, from the I-th (1/N to N/N), as in a Slurm array job: "
        '--shard "$SLURM_ARRAY_TASK_ID/16"; the results are kept beside the output, and the same '
        f"command without --shard joins them in {out}",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="processes on this machine, one a GPU where there are some; or an executor's tasks "
        "(default: 1)",
    )
    parser.add_argument(
        "--executor",
        choices=EXECUTORS,
        help="datatrove's, which mine uses too; after slurm's jobs, the same command without "
        "--executor and --workers joins their results",
    )
    parser.add_argument(
        "--executor-options",
        type=json.loads,
        default={},
        metavar="JSON",
        help='such as \'{"partition": "gpu", "time": "20:00:00"}\'',
    )
    parser.add_argument(
        "--restart",
        action=BooleanOptionalAction,
        default=False,
        help="forget what an earlier run of the same output has done",
    )


def _shard(text: str) -> Shard:
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ArgumentTypeError(f"got {text!r}; write I/N, from 1/N to N/N, such as 1/4")
    return Shard(int(match[1]), int(match[2]))


def check_long_run(args: Namespace, out: str | None, option: str) -> None:
    """Raise before any work is spent if the options do not go together.

    Raises:
        ValueError: they do not.
    """
    if args.workers < 1:
        raise ValueError(f"got --workers {args.workers}; need at least 1")
    if args.executor is not None and args.workers == 1 and args.shard == SINGLE_SHARD:
        raise ValueError(f"got --executor {args.executor}; give the number of tasks as --workers N")
    several = args.workers > 1 or args.shard.count > 1
    if several and out is None:
        raise ValueError(f"--shard and --workers keep their results beside {option}; name one")
    if args.shard.count > 1 and (args.workers > 1 or args.restart):
        which = "--workers" if args.workers > 1 else "--restart"
        raise ValueError(f"got --shard with {which}; give {which} without --shard")


class ResumableRun(AbstractContextManager["ResumableRun"]):
    """What a command has done of its items, in journals that are kept until it is finished.

    Beside the output OUT there is the folder ``OUT.run``: ``settings.json`` and a journal a shard,
    which other shards' processes write. A run of the whole takes up what all of them have done,
    and has their files for itself.

    Args:
        out: the output; ``None`` to keep rows in memory only.
        begun: what the results depend on; see ``settings``.
        names: places of items that a row says are done.
        total: how many items there are.
        args: has ``shard`` and ``restart``.
        option: that names the output, for messages.
        own: the file that a run of the whole writes to, if not one in the folder.

    Raises:
        ValueError: the run was begun with other options, or another process is at it.
        OSError: a file cannot be written.
    """

    def __init__(
        self,
        out: str | None,
        begun: Mapping[str, Any],
        names: Names,
        total: int,
        args: Namespace,
        option: str,
        own: Path | None = None,
    ) -> None:
        self.names, self.total, self.shard = names, total, args.shard
        self.files = ExitStack()
        self.memory: list[Mapping[str, Any]] = []
        self.done: set[Hashable] = set()
        self.journal: Journal | None = None
        self.parts: list[Path] = []
        if out is None:
            return
        self.folder = Path(f"{out}.run")
        if args.restart:
            _forget(self.folder, own)
        self.folder.mkdir(exist_ok=True)
        advice = f"take another {option}, or --restart to forget what that run has done"
        begin(self.folder / "settings.json", begun, advice)
        mine = self.folder / f"part-{self.shard.index}-of-{self.shard.count}.jsonl"
        if own is not None and self.shard == SINGLE_SHARD:
            mine = own
        found = {*self.folder.glob("part-*.jsonl"), *([own] if own and own.exists() else [])}
        others = sorted(found - {mine})
        self.parts = [mine, *others]
        try:
            self.journal = self.files.enter_context(Journal(mine, names))
            # A shard leaves the others alone, which may be at work.
            for path in others if self.shard == SINGLE_SHARD else ():
                self.files.enter_context(Journal(path, names))
        except BaseException:
            self.files.close()
            raise
        self.done = self.journal.done
        for path in others:
            self.done |= {name for row in read_rows(path, names) for name in names(row)}

    def append(self, *rows: Mapping[str, Any]) -> None:
        """Add rows; when this returns, a kill of the process no longer loses them."""
        if self.journal is not None:
            self.journal.append(*rows)
        else:
            self.memory += rows
            self.done.update(name for row in rows for name in self.names(row))

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """All rows of all shards."""
        yield from self.memory
        for path in self.parts:
            yield from read_rows(path, self.names)

    @property
    def left(self) -> bool:
        """Whether anything is to be done."""
        return len(self.done) < self.total

    def told(self) -> str:
        """How far this shard is, for its last line of output."""
        which = f"{self.shard.index}/{self.shard.count}"
        kept = f"{len(self.done)} of {self.total} are done, by this shard and before"
        return f"shard {which}: {kept}; the same command without --shard joins them"

    def gather(self, out: Path, order: Sequence[Hashable]) -> None:
        """Put the rows of all parts into one file, in order; the parts are removed.

        Args:
            out: replaced whole, unless it is so already.
            order: what each row names.
        """
        places: dict[Hashable, tuple[Path, int]] = {}
        for path in self.parts:
            start = 0
            with path.open("rb") as file:
                for line in file:
                    places.setdefault(next(iter(self.names(json.loads(line)))), (path, start))
                    start += len(line)
        wanted = [places[name] for name in order if name in places]
        if len(self.parts) > 1 or wanted != sorted(wanted):
            self._copy(out, wanted)
        self.files.close()
        for path in (*self.parts[1:], *self.folder.glob("worker-*.log")):
            path.unlink()

    def _copy(self, out: Path, wanted: Sequence[tuple[Path, int]]) -> None:
        with replacing(out) as name, name.open("wb") as target, ExitStack() as opened:
            sources = {path: opened.enter_context(path.open("rb")) for path in self.parts}
            for path, start in wanted:
                sources[path].seek(start)
                target.write(sources[path].readline())

    def finish(self) -> None:
        """Remove the folder: all that it holds is in the output."""
        self.files.close()
        if self.parts:
            shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self.files.close()
        if isinstance(value, KeyboardInterrupt) and self.parts:
            kept = f"{len(self.done)} of {self.total} are done and kept in {self.parts[0]}"
            raise KeyboardInterrupt(kept) from None


def _forget(folder: Path, own: Path | None) -> None:
    for path in (*folder.glob("part-*.jsonl"), *([own] if own and own.exists() else [])):
        with path.open("rb") as file:
            lock(file, path)  # nothing is pulled from under a process that is at work
            path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def settings(args: Namespace, items: Any, free: Sequence[str] = ()) -> dict[str, Any]:
    """What results depend on: options, the content of models' folders, the items.

    Args:
        args: the command's.
        items: anything of which ``repr`` tells all.
        free: further options that do not change results.
    """
    fixed = {name: x for name, x in vars(args).items() if name not in IGNORED_IN_SETTINGS and name not in free}
    if hasattr(args, "endpoint"):
        fixed["served"] = args.endpoint is not None  # where does not matter
    weights = {name: digest(fixed[name]) for name in MODELS if fixed.get(name)}
    return {**fixed, "weights": weights, "items": sha256(repr(items).encode()).hexdigest()[:16]}


def digest(name: str) -> str | None:
    """Tells a model's folder from another of its name; ``None`` of what is no folder.

    Of each file, its name, its size, its first and its last MiB.
    """
    folder = Path(name)
    if not folder.is_dir():
        return None
    found = sha256()
    for path in sorted(x for x in folder.iterdir() if x.is_file()):
        size = path.stat().st_size
        found.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            found.update(file.read(MEBIBYTE))
            file.seek(max(size - MEBIBYTE, 0))
            found.update(file.read(MEBIBYTE))
    return found.hexdigest()[:16]


def done_items(row: Mapping[str, Any]) -> list[int]:
    """Places of items that a line of ``answered`` or ``scored`` has."""
    return [int(place) for place in row["items"]]


def tell(batches: Batches[Any], name: Callable[[int], str]) -> None:
    """Print what became of items that could not be done.

    Args:
        batches: that ran.
        name: what the user calls an item, by its place.
    """
    if batches.halved:
        print(
            f"out of memory: {batches.halved} batches were run in halves; a smaller --batch-size "
            "saves the attempts"
        )
    for item in batches.aside[:TOLD]:
        print(f"not done: {name(item.place)}: {printable(item.reason)}")
    if batches.aside:
        print(f"not done: {len(batches.aside)} in all; the same command tries them again")
