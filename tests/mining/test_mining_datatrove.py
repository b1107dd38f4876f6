from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

pytest.importorskip("datatrove", reason="datatrove is not installed")
pytest.importorskip("orjson", reason="datatrove's reader needs orjson")
pytestmark = pytest.mark.filterwarnings("ignore")  # datatrove's and multiprocess's own

from reason_decode.mining import (  # noqa: E402
    Document,
    Dropped,
    MiningResult,
    Record,
    faithful,
    parse_tagged,
    run_stages,
)
from reason_decode.mining.datatrove import MiningStep, from_datatrove, to_datatrove  # noqa: E402
from reason_decode.mining.journal import read_journal  # noqa: E402
from reason_decode.mining.pipeline import Stage  # noqa: E402

BUILT: list[str] = []


def record_all(documents: Iterable[Document]) -> Iterator[MiningResult]:
    for x in documents:
        records = [Record(x.id, x.source, None, y, "filter", "", k) for k, y in enumerate(x.text)]
        yield MiningResult(x.id, x.source, None, tuple(records))


def odd(documents: Iterable[Document]) -> Iterator[Document | Dropped]:
    for x in documents:
        yield x if int(x.id) % 2 else Dropped(x, "odd", "even")


def build(settings: str) -> Sequence[Stage]:
    BUILT.append(settings)
    return [odd, record_all]


def gates(_: str) -> Sequence[Stage]:
    return [parse_tagged, faithful]


def test_annotated_documents_survive_datatrove():
    text = "First a thing. <BOT>think<EOT>Then 7. <BOT>it is 9<EOT>The end."
    document = Document("1", "s", text, answer="9", similarity=0.5)
    (annotated,) = run_stages([document], [parse_tagged, faithful])
    (converted,) = to_datatrove(annotated)
    assert from_datatrove(converted) == annotated
    (converted,) = to_datatrove(document)
    assert from_datatrove(converted) == document
    assert list(to_datatrove(Dropped(document, "x", "y"))) == []


def test_a_step_runs_stages_in_order_and_counts_dropped_documents():
    (first,) = to_datatrove(Document("1", "s", "a<BOT>r<EOT>b"))
    (second,) = to_datatrove(Document("2", "s", "no tags"))
    step = MiningStep(gates)
    (out,) = step.run(iter([first, second]))
    assert out.metadata["rationales"] == ["r"] and out.text == "ab"
    assert step.stats["dropped by extract"].total == 1 and step.stats["passed"].total == 1


def test_the_local_executor_does_each_document_once(tmp_path: Path):
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.readers import JsonlReader

    (tmp_path / "in").mkdir()
    for k in range(3):
        rows = [f'{{"id": "{i}", "text": "ab", "source": "s"}}\n' for i in range(k, 12, 3)]
        (tmp_path / "in" / f"{k}.jsonl").write_text("".join(rows))
    journals = tmp_path / "journal"
    BUILT.clear()
    for _ in range(2):
        step = MiningStep(build, "here", str(journals))
        pipeline = [JsonlReader(str(tmp_path / "in")), step]
        logs = str(tmp_path / "logs")
        LocalPipelineExecutor(
            pipeline, tasks=3, workers=1, logging_dir=logs, skip_completed=False
        ).run()
    rows = [row for path in sorted(journals.iterdir()) for row in read_journal(path)]
    assert sorted(int(row["id"]) for row in rows) == list(range(12))
    assert all(bool(row["records"]) == bool(int(row["id"]) % 2) for row in rows)
    assert BUILT == ["here"]  # once a process, not once a task
