import json

import pytest

from reason_decode.core.solutions import (
    Candidate,
    Cost,
    Step,
    StepBoundary,
    StepSplitter,
    Trace,
    to_steps,
)
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


def test_lists_of_steps_are_taken_as_they_are() -> None:
    assert to_steps(["a\nb", ["a\nb"]], StepSplitter()) == [["a", "b"], ["a\nb"]]


def test_costs_add_by_role() -> None:
    total = Cost(1, 2, 3, 4) + Cost(prefill=10, scorer=5)
    assert total == Cost(11, 2, 3, 9)
    assert total.to_dict() == {
        "generator": {"prefill": 11, "decode": 2, "sampled": 3},
        "scorer": {"read": 9},
    }


def test_a_trace_survives_json() -> None:
    candidates = (Candidate("a", ("a",), (0.2,), 0.2), Candidate("b", ("b",), (0.9,), 0.9))
    step = Step("b", 0.9, 0.9, parent=None, kept=True, finished=False, tokens=1)
    trace = Trace("p", "BestOfN", candidates, chosen=(1, 0), rounds=((step,),))
    assert trace.best.text == "b"
    again = json.loads(json.dumps(trace.to_dict()))
    assert again["candidates"][1]["total"] == 0.9
    assert again["rounds"][0][0]["kept"] is True
    assert Trace.from_dict(again) == trace
    with pytest.raises(TypeError, match="candidates|missing"):
        Trace.from_dict({**again, "candidates": [{"steps": [], "scores": []}]})


@pytest.mark.parametrize(
    "parents", [((0,),), ((None,), (None,)), ((None,), (1,)), ((None,), (-1,))]
)
def test_traces_reject_steps_without_a_parent_in_the_round_before(
    parents: tuple[tuple[int | None, ...], ...],
) -> None:
    rounds = tuple(
        tuple(Step("a", 0.5, 0.5, parent, True, False, 1) for parent in one) for one in parents
    )
    with pytest.raises(ValueError, match="got parent="):
        Trace("p", "StepSearch", (Candidate("a", ("a",)),), chosen=(0,), rounds=rounds)


def test_a_notebook_shows_a_trace_as_a_page() -> None:
    trace = Trace("p <b>", "BestOfN", (Candidate("a", ("a",), (0.2,), 0.2),), chosen=(0,))
    shown = trace._repr_html_()
    assert shown.startswith("<iframe ") and shown.endswith("</iframe>")
    assert 'sandbox="allow-scripts"' in shown and "<b>" not in shown


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
