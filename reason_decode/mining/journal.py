"""The results of a mining run so far, one line per document, safe against a kill at any moment."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reason_decode.io.journal import Journal, read_rows
from reason_decode.mining.documents import Document, Dropped
from reason_decode.mining.results import MiningResult, to_row

__all__ = ["MiningJournal", "read_journal"]


class MiningJournal(Journal):
    """Results by document, each written before the next result is asked for.

    A document is done once its line is complete. A line that was cut off by a kill is removed when
    the file is opened again, and its document is mined again.

    Args:
        path: the file; created if it does not exist. Only one process may have it open.

    Raises:
        ValueError: another process has it open, or a complete line is no result of mining.
        OSError: it cannot be written.

    Examples:
        >>> import tempfile
        >>> from reason_decode.mining import Document, MiningJournal, MiningResult
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with MiningJournal(f"{folder}/journal.jsonl") as journal:
        ...         journal.write(MiningResult("1", "web", similarity=None, records=()))
        ...     with MiningJournal(f"{folder}/journal.jsonl") as journal:
        ...         Document("1", "web", "text") in journal
        True
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, _names, "mining")

    def __contains__(self, item: object) -> bool:
        document = item.document if isinstance(item, Dropped) else item
        return isinstance(document, Document) and (document.source, document.id) in self.done

    def write(self, result: MiningResult | Dropped) -> None:
        """Add a result; a kill of the process after this call does not lose it."""
        self.append(to_row(result))


def read_journal(path: str | Path) -> Iterator[dict[str, Any]]:
    """Read the results of a journal as rows, see ``to_row``; an incomplete last line is skipped.

    Raises:
        ValueError: a complete line is no result of mining.
        OSError: the file cannot be read.
    """
    return read_rows(path, _names, "mining")


def _names(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    _ = row["records"]
    return [(row["source"], row["id"])]
