"""Traces of the last requests, kept in bounded memory."""

import json
import threading
from collections import OrderedDict
from typing import Any, NamedTuple

__all__ = ["TraceStore"]


class _Kept(NamedTuple):
    owner: str
    data: bytes


class TraceStore:
    """The traces of the last requests by the id of the response.

    Args:
        max_entries: number of requests that are kept; the oldest are dropped.
        max_bytes: bytes of all of them, as JSON.

    Examples:
        >>> store = TraceStore(max_entries=1, max_bytes=1000)
        >>> store.add("a", "", {"k": 1})
        >>> store.add("b", "", {"k": 2})
        >>> store.get("a", ""), store.get("b", ""), store.get("b", "somebody else")
        (None, {'k': 2}, None)
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.max_entries, self.max_bytes = max_entries, max_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, id: str, owner: str, record: Any) -> None:
        """Keep a record that can be written as JSON.

        Args:
            id: id of the response.
            owner: whoever may read it.
            record: the record.
        """
        data = json.dumps(record, allow_nan=False).encode()
        with self._lock:
            self._kept[id] = _Kept(owner, data)
            self._bytes += len(data)
            while self._kept and (
                len(self._kept) > self.max_entries or self._bytes > self.max_bytes
            ):
                self._bytes -= len(self._kept.popitem(last=False)[1].data)

    def get(self, id: str, owner: str) -> Any:
        """The record; ``None`` if there is none of this id that the owner may read."""
        kept = self._kept.get(id)
        return json.loads(kept.data) if kept is not None and kept.owner == owner else None
