"""Which documents a run of mining has done so far, and what came of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reason_decode.io import journal
from reason_decode.mining.documents import Document, Dropped
from reason_decode.mining.records import MiningResult, to_row

__all__ = ["Journal", "read_journal"]

OF = "mining"


class Journal(journal.Journal):
    """Results by document, one line each, written before the next result is asked for.

    A document is done when its line is whole. A line that was being written when the process was
    killed is cut off when the file is opened again, and its document is done anew.

    Args:
        path: of the file; made where there is none. No two processes may have it open.

    Raises:
        ValueError: another process has it open, or a line inside it is no result.
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> from reason_decode.mining import Document, Journal, MiningResult
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Journal(f"{folder}/journal.jsonl") as journal:
        ...         journal.write(MiningResult("1", "web", similarity=None, records=()))
        ...     with Journal(f"{folder}/journal.jsonl") as journal:
        ...         Document("1", "web", "text") in journal
        True
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, _keys, OF)

    def __contains__(self, item: object) -> bool:
        document = item.document if isinstance(item, Dropped) else item
        return isinstance(document, Document) and (document.source, document.id) in self.done

    def write(self, result: MiningResult | Dropped) -> None:
        """Add a line; when this returns, a kill of the process no longer loses it."""
        self.append(to_row(result))


def read_journal(path: str | Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a journal, see ``to_row``; what follows the last line break is left out.

    Raises:
        ValueError: a whole line is no result.
        OSError: the file cannot be read.
    """
    return journal.read_rows(path, _keys, OF)


def _keys(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    _ = row["records"]
    return [(row["source"], row["id"])]
