import itertools

import pytest

from reason_decode.training.labelled import (
    LabelledSolution,
    dedupe_shared_steps,
    resolve_neutral,
    until_first_error,
)

EVERY = [
    labels for n in range(4) for labels in itertools.product([-1, 0, 1, None], repeat=n)
]  # 85 sequences


def test_resolve_neutral_changes_only_neutral_labels():
    for labels in EVERY:
        positive = tuple(1 if label == 0 else label for label in labels)
        negative = tuple(-1 if label == 0 else label for label in labels)
        assert resolve_neutral(labels, "positive") == positive
        assert resolve_neutral(labels, "negative") == negative
        assert resolve_neutral(labels, "keep") == labels
    with pytest.raises(ValueError, match="'positive', 'negative', 'keep'"):
        resolve_neutral([0], "yes")  # pyright: ignore[reportArgumentType]


def test_until_first_error_drops_the_labels_after_it():
    for labels in EVERY:
        kept = until_first_error(labels)
        assert len(kept) == len(labels) and kept.count(-1) == min(1, labels.count(-1))
        end = labels.index(-1) + 1 if -1 in labels else len(labels)
        assert kept[:end] == labels[:end] and set(kept[end:]) <= {None}
        assert until_first_error(kept) == kept


def test_neutral_as_negative_counts_as_the_first_error():
    assert until_first_error(resolve_neutral([1, 0, 1], "negative")) == (1, -1, None)
    assert until_first_error(resolve_neutral([1, 0, 1], "positive")) == (1, 1, 1)


def test_a_shared_step_keeps_its_label_once():
    path = LabelledSolution("p", ("a", "b", "c"), (1, 1, -1))
    branches = [
        LabelledSolution("p", ("a", "x"), (1, 0)),
        LabelledSolution("p", ("a", "b", "y"), (1, 1, 1)),
    ]
    kept = dedupe_shared_steps([path, *branches])
    assert [solution.labels for solution in kept] == [(1, 1, -1), (None, 0), (None, None, 1)]
    assert [solution.steps for solution in kept] == [path.steps, *[b.steps for b in branches]]
    assert dedupe_shared_steps(kept) == kept
    # The same words behind other words, or of another problem, are another step.
    apart = [path, LabelledSolution("p", ("b", "a"), (1, 1)), LabelledSolution("q", ("a",), (1,))]
    assert dedupe_shared_steps(apart) == apart


def test_rejects_another_number_of_labels_than_steps():
    with pytest.raises(ValueError, match="got 1 labels for 2 steps"):
        LabelledSolution("p", ("a", "b"), (1,))
