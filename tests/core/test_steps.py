import pytest

from reason_decode.core.steps import StepBoundary, StepSplitter
from reason_decode.tiny import load


def test_drops_blank_pieces() -> None:
    assert StepSplitter().split("\na\n\n  \nb\n") == ["a", "b"]


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
