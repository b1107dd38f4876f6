import json
from typing import Any

import pytest

from reason_decode.core.splitting import StepBoundary, StepSplitter, as_splitter, splitter_for
from reason_decode.tiny import load


def test_drops_blank_pieces() -> None:
    assert StepSplitter().split("\na\n\n  \nb\n") == ["a", "b"]


def test_steps_keep_their_indentation_and_pieces_make_up_the_text() -> None:
    """Code was once stripped before it was judged."""
    code = "def f(x):\n    if x:\n\n        return 1\n"
    splitter = StepSplitter()
    assert splitter.split(code) == ["def f(x):", "    if x:", "        return 1"]
    assert "\n".join(splitter.pieces(code)) == code
    assert splitter.pieces(" \n") == []


def test_complete_leaves_out_the_step_that_is_still_growing() -> None:
    splitter = StepSplitter("\n\n")
    assert splitter.complete("a\n\nb\nc\n\nd") == ["a", "b\nc"]
    assert splitter.complete("a\nb") == []
    assert splitter.complete("a\n\n") == ["a"]


def test_complete_leaves_no_part_of_a_separator_in_a_step() -> None:
    """Text was once cut one character into the last separator, which only blank ones forgive."""
    splitter = StepSplitter(")\n")
    assert splitter.complete("(1)\n(2)\n(3") == splitter.split("(1)\n(2)\n") == ["(1", "(2"]


def test_leading_separators_end_no_step() -> None:
    splitter = StepSplitter()
    assert splitter.complete("\n\n") == splitter.complete("\n a") == []
    assert splitter.complete("\na\n") == ["a"]


def test_rejects_an_empty_separator() -> None:
    with pytest.raises(ValueError, match="empty separator"):
        StepSplitter("")


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("separator", ["\n", "\n\n", ")\n", " so"])
def test_boundary_fires_at_the_first_token_that_completes_the_steps(
    separator: str, count: int
) -> None:
    tokenizer = load().tokenizer
    text = "\n\nFirst (1 + 2)\n = 3, so A is (3)\n\nThen so (4)\n\n"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    splitter = StepSplitter(separator)
    boundary = StepBoundary(tokenizer, splitter, count)
    fired = [boundary(ids[: k + 1]) for k in range(len(ids))]
    texts = tokenizer.batch_decode([ids[: k + 1] for k in range(len(ids))])
    held = [len(splitter.complete(text)) >= count for text in texts]
    assert True in held
    assert fired.index(True) == held.index(True)


class _Counted:
    """A tokenizer of one character a token that counts the tokens that it decodes."""

    decoded = 0

    def decode(self, ids: list[int]) -> str:
        self.decoded += len(ids)
        return "".join(map(chr, ids))


@pytest.mark.parametrize("line", ["a table row |\n", "\n", "\n \n", "x"])
def test_a_boundary_decodes_a_constant_a_token(line: str) -> None:
    """A step of many lines was decoded from its beginning at each of them."""
    text = (line * 400)[:1600].replace("\n\n", "\n") if line != "\n" else "\n" * 1600
    for separator in ("\n\n", "|\n\n"):
        tokenizer = _Counted()
        boundary = StepBoundary(tokenizer, StepSplitter(separator))
        ids = [ord(character) for character in text]
        assert not any(boundary(ids[: k + 1]) for k in range(len(ids)))
        assert tokenizer.decoded < 20 * len(ids)


def test_several_separators_each_end_a_step() -> None:
    """A splitter knew one literal separator; a chat model ends steps by lines or by paragraphs."""
    splitter = StepSplitter(["\n", "\n\n", "; "])
    assert splitter.split("a\n\nb; c\nd") == ["a", "b", "c", "d"]
    assert splitter.complete("a; b") == ["a"]
    assert splitter.pieces("a; b\n") == ["a; b\n"] and splitter.joiner == "\n"


def test_a_pattern_ends_steps_where_it_matches() -> None:
    """Sentences and numbered steps have no literal separator."""
    assert StepSplitter(pattern=r"(?<=[.!?])\s+").split("One. Two! Three") == [
        "One.",
        "Two!",
        "Three",
    ]
    numbered = StepSplitter(pattern=r"\n(?=Step \d)")
    assert numbered.split("Step 1: a\nb\nStep 2: c") == ["Step 1: a\nb", "Step 2: c"]


def test_steps_of_tokens_make_up_the_text() -> None:
    """A search by a fixed number of tokens was not possible."""
    tokenizer, text = load().tokenizer, "10 - 4 = 6 (left: 5 6 6)\n5 * 6 = 30 (left: 6 30)"
    steps = StepSplitter(tokens=5, tokenizer=tokenizer).split(text)
    lengths = [len(tokenizer(x, add_special_tokens=False)["input_ids"]) for x in steps]
    assert "".join(steps) == text and len(steps) > 2 and max(lengths) <= 6
    with pytest.raises(ValueError, match="tokenizer="):
        StepSplitter(tokens=5).split(text)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pattern": "("}, "no regular expression"),
        ({"pattern": r"\n*"}, "matches the empty text"),
        ({"tokens": 0}, "at least 1"),
        ({"separator": []}, "or several texts"),
        ({"separator": "a", "tokens": 3}, "pass one of them"),
        ({"separator": ["a", ""]}, "empty separator"),
    ],
)
def test_rejects_what_splits_nothing(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StepSplitter(**arguments)


@pytest.mark.parametrize(
    "given", ["\n", ["\n\n", ";"], {"pattern": r"\n+"}, {"tokens": 7}, StepSplitter(";")]
)
def test_a_splitter_is_made_again_from_its_settings(given: Any) -> None:
    splitter = as_splitter(given)
    assert as_splitter(json.loads(json.dumps(splitter.settings()))) == splitter


def test_a_mark_of_a_layout_splits_no_text_of_a_generator() -> None:
    """A model trained with <extra_0> between steps gave one score to a text of paragraphs."""
    assert splitter_for("<extra_0>").split("We add.\n\nSo 5.") == ["We add.", "So 5."]
    assert splitter_for("<extra_0>").split("We add.<extra_0>So 5.") == ["We add.", "So 5."]
    assert splitter_for("\n").split("a\nb") == ["a", "b"]


@pytest.mark.parametrize("pattern", [r"\n\s*\n", r"(?<=\.)\s", r"\n(?=Step \d)"])
def test_a_boundary_of_a_pattern_fires_where_the_pattern_splits(pattern: str) -> None:
    tokenizer, splitter = _Counted(), StepSplitter(pattern=pattern)
    text = "\n \nStep 1. We add\nthem.\n  \nStep 2: it is 5.\n\nThen"
    ids = [ord(character) for character in text]
    boundary = StepBoundary(tokenizer, splitter)
    fired = [boundary(ids[: k + 1]) for k in range(len(ids))]
    held = [bool(splitter.complete(text[: k + 1])) for k in range(len(ids))]
    assert fired.index(True) == held.index(True)
    assert tokenizer.decoded < 100 * len(ids)


def test_a_boundary_of_tokens_counts_them_and_waits_for_a_whole_character() -> None:
    class _Half(_Counted):
        def decode(self, ids: list[int]) -> str:
            return "�" if ids[-1] == 9 else super().decode(ids)

    boundary = StepBoundary(_Half(), StepSplitter(tokens=3))
    assert [boundary([65] * k) for k in (1, 2, 3, 4)] == [False, False, True, True]
    assert not boundary([65, 65, 9]) and boundary([65, 65, 9, 65])
