import random

import pytest

from reason_decode import tiny
from reason_decode.cli import main
from reason_decode.mining import Document, ReadReport, read_documents, segment
from reason_decode.mining.readers import read_texts


def test_good_rows_survive_bad_ones_and_ids_are_unique(tmp_path):
    path = tmp_path / "web.jsonl"
    rows = [
        '{"id": 7, "text": "a"}',
        "nonsense",
        '{"id": "7", "text": "b"}',
        '{"text": " "}',
        '{"text": "\\ud800"}',
        '{"text": "c", "answer": [1]}',
        '{"source": "other", "id": "7", "text": "d", "answer": 5}',
        '{"question": "1 + 2?", "answer": "<<1+2=3>>It is 3.\\n#### 1,003 "}',
    ]
    path.write_text("\n".join(rows))
    report = ReadReport()
    found = list(read_documents([path], report))
    assert found == [
        Document("7", "web", "a"),
        Document("7", "other", "d", answer="5"),
        Document("web.jsonl:8", "web", "1 + 2?\nIt is 3.\n#### 1,003 ", answer="1,003"),
    ]
    assert (report.rows, report.items, report.malformed) == (8, 3, 5)
    assert [(x.file, x.row) for x in report.rejected] == [("web.jsonl", k) for k in range(2, 7)]


def test_rows_without_texts_are_an_error_before_a_folder_is_made(tmp_path, capsys):
    """``mine`` of rows with ``content`` ended with status 0 and 0 documents."""
    (tmp_path / "web.jsonl").write_text('{"content": "2 + 3 is 5."}\n' * 2)
    argv = ["mine", "--writer", "tagged", "--loss-model", "tiny", "--input"]
    argv += [str(tmp_path / "web.jsonl"), "--output", str(tmp_path / "out")]
    assert main(argv) == 2
    assert "no row is a document (2 rows: 0 items; malformed: 2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_reference_texts_are_read_in_any_format(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text('{"problem": "p", "solution": "s"}\n{"question": "q", "answer": "a"}\n{"x": 1}')
    report = ReadReport()
    assert list(read_texts(path, report)) == ["p\ns", "q\na"]
    assert report.malformed == 1


@pytest.mark.parametrize("tokenizer", [None, tiny.load().tokenizer], ids=["words", "tokens"])
def test_segments_joined_are_the_document_and_none_is_too_long(tokenizer):
    generator = random.Random(0)
    for _ in range(50):
        parts = ["one ", "two. ", "é!\n", "\n\n", "4 + 5 = 9\n", "a" * 30]
        text = "".join(generator.choices(parts, k=generator.randrange(1, 60)))
        limit = generator.randrange(1, 30)
        pieces = list(segment([Document("d", "s", text, answer="9")], limit, tokenizer))
        assert "".join(x.text for x in pieces) == text and all(x.text for x in pieces)
        assert {x.answer for x in pieces} == {"9"} and len({x.id for x in pieces}) == len(pieces)
        if tokenizer is None:
            assert all(len(x.text.split()) <= limit for x in pieces)


def test_segments_end_at_paragraphs_or_sentences():
    text = "One two. Three four.\n\nFive six. Seven eight nine ten."
    found = [x.text for x in segment([Document("d", "s", text)], 4)]
    assert found == ["One two. Three four.\n\n", "Five six. ", "Seven eight nine ten."]
    with pytest.raises(ValueError, match="max_tokens=0"):
        segment([], 0)
