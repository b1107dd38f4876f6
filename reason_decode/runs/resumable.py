"""Runs of many items that resume: results are kept in journals beside the output."""

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import rmtree
from typing import Any, Self

from reason_decode.io.journal import Journal, Keys, check_settings, lock, read_rows
from reason_decode.io.jsonl import atomic_write
from reason_decode.runs.options import SINGLE_SHARD, RunOptions

__all__ = ["ResumableRun", "item_indices"]

# Files that a run makes in its folder; nothing else there is ever removed.
OWN_FILES = ("settings.json", "part-*.jsonl", "worker-*.log")
ADVICE = "take another output, or restart (--restart) to delete the results of that run"


class ResumableRun:
    """Results of a run's items, kept in journals until the run is finished.

    Beside the output OUT there is the folder ``OUT.run``: ``settings.json`` and a journal per
    shard, which the processes of other shards write. Entering the run opens and locks the journal
    of its shard. The run of the single shard reads the results of all others as well and locks
    their journals. It may be entered again after it was left.

    Args:
        output: the output file; ``None`` to keep rows in memory only.
        settings: everything that the results depend on, see ``run_settings``.
        keys: the keys of the items that a row completes.
        total: number of items.
        options: the shard, and whether to delete the results of an earlier run first.
        in_place: whether the output consists of the rows themselves: the single shard appends them
            to it directly.

    Attributes:
        done: keys of the items that are done.

    Raises:
        ValueError: several processes share a run without output; or, on entering, the run was
            started with other settings, another process is writing it, or its files are not ours.
        OSError: on entering, a file cannot be written.
    """

    def __init__(
        self,
        output: str | Path | None,
        settings: Mapping[str, Any],
        keys: Keys,
        total: int,
        options: RunOptions | None = None,
        *,
        in_place: bool = False,
    ) -> None:
        self.options = options or RunOptions()
        if output is None and self.options.is_divided:
            raise ValueError(
                "shards and workers keep their results beside the output; name one (--output)"
            )
        self.output = None if output is None else Path(output)
        self.folder = Path(f"{output}.run")
        self.settings, self.keys, self.total = settings, keys, total
        self.in_place = in_place
        self.done: set[Hashable] = set()
        self._restart = self.options.restart
        self._files = ExitStack()
        self._memory: list[Mapping[str, Any]] = []
        self._journal: Journal | None = None
        self._paths: list[Path] = []

    def __enter__(self) -> Self:
        if self.output is not None:
            try:
                self._open(self.output)
            except BaseException:
                self._files.close()
                raise
        return self

    def _open(self, output: Path) -> None:
        if self._restart:
            self._delete_results(output)
            self._restart = False
        self._refuse_foreign_files(output)
        self.folder.mkdir(exist_ok=True)
        check_settings(self.folder / "settings.json", self.settings, ADVICE)
        shard, single = self.options.shard, self.options.shard == SINGLE_SHARD
        own = self.folder / f"part-{shard.index}-of-{shard.count}.jsonl"
        if self.in_place and single:
            own = output
        others = sorted({*self._journals(output)} - {own})
        self._journal = self._files.enter_context(Journal(own, self.keys))
        # Other shards may be running: only the run that joins them all needs their journals.
        for path in others if single else ():
            self._files.enter_context(Journal(path, self.keys))
        self._paths = [own, *others]
        self.done = self._journal.done
        for path in others:
            self.done |= {key for row in read_rows(path, self.keys) for key in self.keys(row)}

    def _journals(self, output: Path) -> list[Path]:
        parts = [*self.folder.glob("part-*.jsonl")]
        return [*parts, output] if self.in_place and output.exists() else parts

    def _delete_results(self, output: Path) -> None:
        for path in self._journals(output):
            with path.open("rb") as file:
                lock(file, path)  # refuses to delete the journal of a running process
                if path == output:
                    self._check_rows(path, file.read(1))
                path.unlink()
        self._remove_folder()

    def _check_rows(self, path: Path, first: bytes) -> None:
        """Raise ValueError if a file holds anything but rows of such a run."""
        for _ in read_rows(path, self.keys):
            pass
        if first not in (b"", b"{"):  # a text without line end, which read_rows leaves out
            raise ValueError(f"{path} is no result of this command; remove it yourself")

    def _refuse_foreign_files(self, output: Path) -> None:
        if (self.folder / "settings.json").exists():
            return
        if self.folder.is_dir() and any(self.folder.iterdir()):
            raise ValueError(
                f"the folder {self.folder} is not one of a run: it has no settings.json; move it, "
                "or take another output"
            )
        if self.in_place and output.exists() and output.stat().st_size:
            raise ValueError(
                f"{output} is there already, but not {self.folder / 'settings.json'}, which says "
                "what its rows depend on; take another output, or restart (--restart) to delete "
                "its rows"
            )

    def append(self, *rows: Mapping[str, Any]) -> None:
        """Add rows; when this returns, a kill of the process no longer loses them."""
        if self._journal is not None:
            self._journal.append(*rows)
        else:
            self._memory += rows
            self.done.update(key for row in rows for key in self.keys(row))

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """All rows of all shards."""
        yield from self._memory
        for path in self._paths:
            yield from read_rows(path, self.keys)

    @property
    def remains(self) -> bool:
        """True if any item is not done."""
        return len(self.done) < self.total

    def progress_line(self) -> str:
        """Line with how much this shard and those before it have done."""
        kept = f"{len(self.done)} of {self.total} are done, by this shard and before"
        return f"shard {self.options.shard}: {kept}; the same command without --shard joins them"

    def gather(self, order: Iterable[Hashable]) -> None:
        """Join the rows of all shards in the output of an ``in_place`` run, and close the run.

        The settings stay beside the output, so that a later run can add items to it.

        Args:
            order: the keys in the order of the output.
        """
        assert self.output is not None and self.in_place
        found: dict[Hashable, tuple[Path, int]] = {}
        for path in self._paths:
            start = 0
            with path.open("rb") as file:
                for line in file:
                    found.setdefault(next(iter(self.keys(json.loads(line)))), (path, start))
                    start += len(line)
        wanted = [found[key] for key in order if key in found]
        if len(self._paths) > 1 or wanted != sorted(wanted):
            self._copy(self.output, wanted)
        self._files.close()
        for path in (*self._paths[1:], *self.folder.glob("worker-*.log")):
            path.unlink()

    def _copy(self, output: Path, wanted: Sequence[tuple[Path, int]]) -> None:
        with atomic_write(output) as name, name.open("wb") as target, ExitStack() as opened:
            sources = {path: opened.enter_context(path.open("rb")) for path in self._paths}
            for path, start in wanted:
                sources[path].seek(start)
                target.write(sources[path].readline())

    def finish(self) -> None:
        """Close the run and remove its folder: all results are in the output."""
        self._files.close()
        if self.output is not None:
            self._remove_folder()

    def _remove_folder(self) -> None:
        for pattern in OWN_FILES:
            for path in self.folder.glob(pattern):
                path.unlink()
        rmtree(self.folder / "logs", ignore_errors=True)  # datatrove's
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self._files.close()
        if isinstance(value, KeyboardInterrupt) and self._paths:
            kept = f"{len(self.done)} of {self.total} are done and kept in {self._paths[0]}"
            raise KeyboardInterrupt(kept) from None


def item_indices(row: Mapping[str, Any]) -> list[int]:
    """Keys of a row that ``evaluation`` makes of a batch: the indices of its items."""
    return [int(index) for index in row["items"]]
