import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reason_decode.mining import (
    Document,
    Dropped,
    MiningJournal,
    MiningResult,
    Record,
    mine,
    run_stages,
)
from reason_decode.mining.journal import read_journal

DOCUMENTS = [Document(str(k), "s", f"täxt {k}") for k in range(20)]


def thirds(documents: Iterable[Document]) -> Iterator[Document | Dropped]:
    for x in documents:
        yield x if int(x.id) % 3 else Dropped(x, "thirds", "divisible: by 3")


def ahead(documents: Iterable[Document]) -> Iterator[Document]:
    """Takes all before it gives the first, as a stage that works on several at once does."""
    yield from [replace(x, text=x.text.upper()) for x in documents]


def finish(documents: Iterable[Document]) -> Iterator[MiningResult]:
    for x in documents:
        yield MiningResult(
            x.id, x.source, None, (Record(x.id, x.source, None, x.text, "filter", ""),)
        )


def ids(results: Iterable[MiningResult | Dropped]) -> list[str]:
    return [x.document.id if isinstance(x, Dropped) else x.id for x in results]


def test_every_document_has_one_result_in_order():
    found = list(mine(DOCUMENTS, [thirds, ahead, thirds, finish]))
    assert ids(found) == [x.id for x in DOCUMENTS]
    assert [isinstance(x, Dropped) for x in found] == [k % 3 == 0 for k in range(20)]


def test_documents_are_read_lazily():
    taken = []
    results = run_stages((taken.append(x.id) or x for x in DOCUMENTS[1:]), [thirds, finish])
    next(results)
    assert taken == ["1"]


def test_a_journal_cut_at_any_byte_ends_with_the_same_lines(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    with MiningJournal(path) as journal:
        whole = list(mine(DOCUMENTS[:4], [thirds, finish], journal))
    data = path.read_bytes()
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        with MiningJournal(path) as journal:
            again = list(mine(DOCUMENTS[:4], [thirds, finish], journal))
        assert path.read_bytes() == data
        assert len(again) == len(whole) - data[:size].count(b"\n")


def test_retryable_documents_are_not_done(tmp_path: Path):
    down = [True]

    def flaky(documents: Iterable[Document]) -> Iterator[Document | Dropped]:
        for x in documents:
            failed = down[0] and x.id in ("1", "3")
            yield Dropped(x, "extract", "no answer: down", retryable=True) if failed else x

    for _ in range(2):
        with MiningJournal(tmp_path / "journal.jsonl") as journal:
            list(mine(DOCUMENTS[:4], [flaky, finish], journal))
        down[0] = False
    rows = list(read_journal(tmp_path / "journal.jsonl"))
    assert [row["id"] for row in rows] == ["0", "2", "1", "3"]


def test_global_stages_also_see_done_documents(tmp_path: Path):
    seen: list[str] = []

    def watch(documents: Iterable[Document]) -> Iterator[Document]:
        for x in documents:
            seen.append(x.id)
            yield x

    with MiningJournal(tmp_path / "j") as journal:
        list(mine(DOCUMENTS[:2], [finish], journal))
        assert ids(mine(DOCUMENTS[:4], [finish], journal, global_stages=[watch])) == ["2", "3"]
    assert seen == ["0", "1", "2", "3"]


def test_rejects_a_journal_in_use_or_edited(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    with MiningJournal(path), pytest.raises(ValueError, match="another process is writing"):
        MiningJournal(path)
    path.write_text("[]\n")
    with pytest.raises(ValueError, match="line 1 is no result of mining"):
        MiningJournal(path)


def test_a_long_incomplete_line_is_cut_off(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    with MiningJournal(path) as journal:
        list(mine(DOCUMENTS[:1], [finish], journal))
    whole = path.read_bytes()
    path.write_bytes(
        whole + json.dumps({"a": "x" * 200_000}).encode()[: random.Random(0).randrange(9, 200_000)]
    )
    with MiningJournal(path) as journal:
        assert DOCUMENTS[0] in journal
    assert path.read_bytes() == whole
