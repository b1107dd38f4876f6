"""Labels of generated solutions are those of the exact checkers."""

import random

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from examples.tiny.batch import DEAD_END, NO_DIGIT, RIGHT, VALID, WRONG
from examples.tiny.countdown_solutions import WorkedSolution
from examples.tiny.mixtures import (
    Mixture,
    MixtureDataset,
    arithmetic_solution,
    countdown_solution,
)
from examples.tiny.sampled_solutions import grade_steps, later_problems
from examples.tiny.solution_batch import collate
from examples.tiny.surface_variation import vary_surface
from reason_decode.tasks import countdown
from reason_decode.tiny import Tiny
from reason_decode.training.examples import IGNORE

MIXTURE = Mixture(countdown=6, arithmetic=4, flawed=0.5)


@pytest.mark.parametrize("terse", [False, True])
@pytest.mark.parametrize("varied", [False, True])
@pytest.mark.parametrize("flawed", [0.0, 1.0])
def test_countdown_labels_equal_the_checkers(flawed: float, varied: bool, terse: bool) -> None:
    rng = random.Random(2)
    for _ in range(400):
        solution = countdown_solution(rng, flawed, varied=varied, terse=terse)
        assert grade_steps(solution.prompt, solution.steps) == list(solution.right), solution
        problem = countdown.parse_prompt(solution.prompt)
        assert problem is not None
        solvable = problem[1] in countdown.reachable(problem[0])
        assert solution.right[-1] is (flawed == 0.0 and solvable)


def test_vary_surface_keeps_every_label() -> None:
    rng = random.Random(4)
    for _ in range(400):
        solution = vary_surface(rng, countdown_solution(rng, 0.5))
        assert grade_steps(solution.prompt, solution.steps) == list(solution.right), solution


def test_steps_after_a_dead_end_are_labelled() -> None:
    """Labels ended at the first wrong step, so lines after a dead end had none.

    There the generator claims the result that it needs, "8 * 7/2 = 24", and the verifier believed
    it. Training on such lines as problems of their own was not enough: best-of-n still lost to
    "88 - 6 = 82", "82 / 6 = 24". So labels go on past dead ends, to the first line that is not
    valid.
    """
    steps = (
        "9 / 6 = 3/2 (left: 3/2 5 8)",
        "5 - 3/2 = 7/2 (left: 7/2 8)",
        "8 * 7/2 = 36 (left: 36)",
        "Answer: 8 * (5 - 9 / 6) = 36",
    )
    prompt = "Make 36 from 5 6 8 9.\n"
    assert grade_steps(prompt, steps) == [False, False, False]
    assert list(later_problems(prompt, steps)) == [
        WorkedSolution("Make 36 from 3/2 5 8.\n", steps[1:3], (False, False)),
        WorkedSolution("Make 36 from 7/2 8.\n", steps[2:3], (False,)),
    ]
    assert not list(later_problems("(1 + 2) =\n", ["1 + 2 = 3"]))


@pytest.mark.parametrize("deep", [False, True])
def test_arithmetic_labels_equal_the_checkers(deep: bool) -> None:
    rng = random.Random(3)
    for _ in range(200):
        for solution in (
            arithmetic_solution(rng, 0.5, deep=deep),
            arithmetic_solution(rng, 0.5, brief=True),
        ):
            assert grade_steps(solution.prompt, solution.steps) == list(solution.right), solution


def _fast_tokenizer(tiny: Tiny) -> PreTrainedTokenizerFast:
    assert isinstance(tiny.tokenizer, PreTrainedTokenizerFast)
    return tiny.tokenizer


def test_only_right_steps_teach_the_next_token(tiny: Tiny) -> None:
    tokenizer = _fast_tokenizer(tiny)
    solution = WorkedSolution("Make 12 from 1 2 3 4.\n", ("a = b", "c = d"), (True, False))
    batch = collate([solution], tokenizer)
    learnt = batch.labels[0][batch.labels[0] != IGNORE]
    assert tokenizer.decode(learnt) == "a = b\n"
    places = (batch.verdicts[0] != IGNORE).nonzero().flatten()
    assert tokenizer.convert_ids_to_tokens(batch.ids[0][places].tolist()) == ["Ċ", "Ċ"]
    assert batch.verdicts[0][places].tolist() == [RIGHT, WRONG]


def test_dead_ends_that_make_the_held_out_target_are_labelled_valid(tiny: Tiny) -> None:
    """With 24 held out, every state that makes 24 was a dead end, and the verifier learnt that.

    It scored `(left: 3 8)` as a dead end even for the target 24.
    """
    for line, verdict in (
        ("10 - 7 = 3 (left: 3 8)", VALID),
        ("10 - 7 = 3 (left: 3 9)", WRONG),
        ("10 - 7 = 4 (left: 3 8)", WRONG),
        ("8 + 7 = 15 (left: 10 15)", DEAD_END),
    ):
        assert (
            _verdict(tiny, WorkedSolution("Make 36 from 7 8 10.\n", (line,), (False,))) == verdict
        )
    right = WorkedSolution("Make 11 from 7 8 10.\n", ("10 - 7 = 3 (left: 3 8)",), (True,))
    assert _verdict(tiny, right) == RIGHT


def _verdict(tiny: Tiny, solution: WorkedSolution) -> int:
    verdicts = collate([solution], _fast_tokenizer(tiny)).verdicts
    return int(verdicts[verdicts != IGNORE])


def test_results_are_digits_at_the_newline_of_a_step_that_leaves_two_numbers(tiny: Tiny) -> None:
    solution = WorkedSolution(
        "Make 36 from 7 8 10.\n", ("10 - 7 = 3 (left: 3 8)", "3 * 8 = 24 (left: 24)"), (True, False)
    )
    batch = collate([solution], _fast_tokenizer(tiny))
    places = (batch.results[0, :, 0] != IGNORE).nonzero().flatten()
    first = (batch.verdicts[0] != IGNORE).nonzero().flatten()[:1]
    assert places.tolist() == first.tolist()
    none = NO_DIGIT
    assert batch.results[0, places[0]].tolist() == [1, 1, 0, 5, 0, 0, 4, 2, 0, none, none, none]


def test_equal_seeds_and_numbers_give_equal_batches(tiny: Tiny) -> None:
    one, two = (MixtureDataset(_fast_tokenizer(tiny), [(0, MIXTURE)], seed=4)[7] for _ in range(2))
    other = MixtureDataset(_fast_tokenizer(tiny), [(0, MIXTURE)], seed=5)[7]
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.ids, b.ids) and torch.equal(a.verdicts, b.verdicts)
    assert not all(torch.equal(a.ids, b.ids) for a, b in zip(one, other, strict=True))


def test_a_schedule_changes_the_mixture_at_its_step(tiny: Tiny) -> None:
    small = Mixture(countdown=2, arithmetic=2, varied=3, brief=1, flawed=0.0)
    data = MixtureDataset(_fast_tokenizer(tiny), [(0, MIXTURE), (3, small)], seed=0)
    assert [sum(len(batch.ids) for batch in data[k]) for k in (2, 3)] == [10, 8]
