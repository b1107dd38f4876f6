import itertools

import pytest

from reason_decode.training.labelled import LabelledSolution, binary, once, until_first_error

EVERY = [
    labels for n in range(4) for labels in itertools.product([-1, 0, 1, None], repeat=n)
]  # 85 sequences


def test_binary_leaves_no_neutral_label_and_changes_no_other():
    for labels in EVERY:
        positive = tuple(1 if label == 0 else label for label in labels)
        negative = tuple(-1 if label == 0 else label for label in labels)
        assert binary(labels, "positive") == positive
        assert binary(labels, "negative") == negative
        assert binary(labels, "keep") == labels
    with pytest.raises(ValueError, match="'positive', 'negative', 'keep'"):
        binary([0], "yes")  # pyright: ignore[reportArgumentType]


def test_until_first_error_keeps_all_up_to_it_and_nothing_behind():
    for labels in EVERY:
        kept = until_first_error(labels)
        assert len(kept) == len(labels) and kept.count(-1) == min(1, labels.count(-1))
        end = labels.index(-1) + 1 if -1 in labels else len(labels)
        assert kept[:end] == labels[:end] and set(kept[end:]) <= {None}
        assert until_first_error(kept) == kept


def test_neutral_as_negative_ends_supervision_when_settled_before():
    assert until_first_error(binary([1, 0, 1], "negative")) == (1, -1, None)
    assert until_first_error(binary([1, 0, 1], "positive")) == (1, 1, 1)


def test_once_gives_each_step_one_label_however_many_branches_hold_it():
    path = LabelledSolution("p", ("a", "b", "c"), (1, 1, -1))
    branches = [
        LabelledSolution("p", ("a", "x"), (1, 0)),
        LabelledSolution("p", ("a", "b", "y"), (1, 1, 1)),
    ]
    kept = once([path, *branches])
    assert [solution.labels for solution in kept] == [(1, 1, -1), (None, 0), (None, None, 1)]
    assert [solution.steps for solution in kept] == [path.steps, *[b.steps for b in branches]]
    assert once(kept) == kept
    # The same words behind other words, or of another problem, are another step.
    apart = [path, LabelledSolution("p", ("b", "a"), (1, 1)), LabelledSolution("q", ("a",), (1,))]
    assert once(apart) == apart


def test_a_label_a_step():
    with pytest.raises(ValueError, match="got 1 labels for 2 steps"):
        LabelledSolution("p", ("a", "b"), (1,))
