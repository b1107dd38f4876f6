"""A cache on disk for comparisons of answers."""

import json
from importlib.metadata import version
from pathlib import Path

from reason_decode.core.answers import same_answer


class CachedSameAnswer:
    """``same_answer`` with a cache on disk of its slow results.

    Args:
        folder: folder of the cache, made if it does not exist; ``None`` to cache in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self.known: dict[tuple[str, str], bool] = {}
        self.path: Path | None = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self.path = folder / f"same-{version('math-verify')}.jsonl"
            lines = self.path.read_text().splitlines() if self.path.exists() else []
            # A killed run may have left half a line.
            for a, b, same in (json.loads(line) for line in lines if line.endswith("]")):
                self.known[a, b] = same

    def __call__(self, a: str, b: str) -> bool:
        """True if two answers are the same."""
        if a == b:
            return True
        if "\\" not in a and "\\" not in b:
            return same_answer(a, b)
        if (a, b) not in self.known:
            self.known[a, b] = same_answer(a, b)
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(
                        "\n" * self._ends_in_half_a_line()
                        + json.dumps([a, b, self.known[a, b]])
                        + "\n"
                    )
        return self.known[a, b]

    def _ends_in_half_a_line(self) -> bool:
        assert self.path is not None
        if not self.path.exists() or not self.path.stat().st_size:
            return False
        with self.path.open("rb") as file:
            file.seek(-1, 2)
            return file.read() != b"\n"
