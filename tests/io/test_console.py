import io

import pytest

from reason_decode.io import console as text


def test_tables_align_text_left_and_numbers_right():
    rows = [{"pick": "a", "right": "7"}, {"pick": "best of n", "right": "123"}]
    assert text.table(rows) == "pick       right\na              7\nbest of n    123"


def test_percent_formats_shares():
    assert (text.percent(0.125), text.percent(None)) == ("12.5 %", "-")


def test_printable_escapes_control_characters():
    assert text.printable("a\x1b[2J\x07\u202eé") == "a\\x1b[2J\\x07\\u202eé"


@pytest.mark.parametrize(
    ("tty", "no_color", "expected"),
    [
        (True, "", "\x1b[31mx\x1b[0m"),
        (True, "1", "x"),
        (False, "", "x"),
    ],
)
def test_colours_are_for_terminals_without_no_color(
    monkeypatch: pytest.MonkeyPatch, tty: bool, no_color: str, expected: str
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: tty, raising=False)
    monkeypatch.setenv("NO_COLOR", no_color)
    assert text.in_colour("x", "red") == expected


def test_without_a_standard_output_nothing_is_coloured(monkeypatch: pytest.MonkeyPatch):
    """A closed terminal ended ``trace`` in "'NoneType' object has no attribute 'isatty'"."""
    monkeypatch.setattr("sys.stdout", None)
    assert text.in_colour("x", "red") == "x"


def test_characters_that_an_encoding_lacks_are_escaped():
    """``trace`` failed where standard output was ASCII."""
    data = io.BytesIO()
    stream = io.TextIOWrapper(data, encoding="ascii")
    text.escape_unprintable(stream, None, io.StringIO())
    stream.write("é")
    stream.flush()
    assert data.getvalue() == b"\\xe9"


def test_lines_stay_lines_and_escapes_are_shown():
    assert text.printable_lines("a\x1b[2J\nb") == "a\\x1b[2J\nb"
