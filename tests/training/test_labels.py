import pytest
import torch

from examples.tiny.sampled_solutions import grade_steps
from reason_decode import tiny
from reason_decode.scorers.base import Scorer, ScoreSpace
from reason_decode.training import LabelledSolution, label_by_checker, label_by_scorer

SUMS = LabelledSolution("p\n", ("a", "b", "c"), (None, None, None))


class Fixed(Scorer):
    """A scorer of steps that returns the scores it was given."""

    score_space: ScoreSpace = "probability"

    def __init__(self, *rows):
        self.rows = rows

    def score(self, prompts, solutions):
        return [torch.tensor(self.rows[int(prompt)]) for prompt in prompts]


def test_a_checker_labels_up_to_the_first_wrong_step():
    cases = [[True, False, True], [True, False], [True, True, True]]
    for verdicts, labels in zip(cases, [(1, -1, None), (1, -1, None), (1, 1, 1)], strict=True):
        (found,) = label_by_checker([SUMS], lambda *_, verdicts=verdicts: verdicts)
        assert found.labels == labels
    with pytest.raises(ValueError, match="got 4 verdicts on the 3 steps"):
        list(label_by_checker([SUMS], lambda *_: [True] * 4))


def test_the_tiny_checker_labels_a_wrong_step():
    lines = ("3 * 4 = 12 (left: 2 12)", "12 * 2 = 25 (left: 25)")
    (found,) = label_by_checker(
        [LabelledSolution("Make 24 from 2 3 4.\n", lines, (None,) * 2)], grade_steps
    )
    assert found.labels == (1, -1)


def test_a_scorer_labels_by_its_threshold_and_sets_correct():
    rows = ([0.9, 0.4, 0.9], [0.5, 0.6, 0.7])
    asked = [LabelledSolution(str(k), ("a", "b", "c"), (None,) * 3) for k in range(2)]
    for size in (1, 64):
        found = list(label_by_scorer(asked, Fixed(*rows), batch_size=size))
        assert [x.labels for x in found] == [(1, -1, None), (1, 1, 1)]
        assert [x.correct for x in found] == [False, True]
    (strict,) = label_by_scorer(asked[1:], Fixed(*rows), threshold=0.65)
    assert strict.labels == (-1, None, None)
    with pytest.raises(ValueError, match="2 scores for the 3 steps"):
        list(label_by_scorer(asked[:1], Fixed([0.1, 0.2])))


def test_the_tiny_verifier_labels_a_wrong_step():
    lines = ("3 * 4 = 12 (left: 2 12)", "12 * 2 = 25 (left: 25)")
    asked = [LabelledSolution("Make 24 from 2 3 4.\n", lines, (None, None))]
    (found,) = label_by_scorer(asked, tiny.load().prm)
    assert found.labels == (1, -1) and found.correct is False


def test_a_scorer_labels_the_part_that_it_reads():
    """A verifier of answers labelled the steps of thoughts, too."""
    thinks = LabelledSolution("0", ("<think>a", "b</think>", "c", "d"), (None,) * 4)
    (found,) = label_by_scorer([thinks], Fixed([0.9, 0.2]), score_part="answer")
    assert found.labels == (None, None, 1, -1) and found.correct is False
    unfinished = LabelledSolution("0", ("<think>a", "b"), (None,) * 2)
    (found,) = label_by_scorer([unfinished], Fixed([]), score_part="answer")
    assert found.labels == (None, None) and found.correct is None
