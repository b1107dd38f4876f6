"""Worked problems carry the verdicts that the exact checkers give."""

import random

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from examples.tiny import sampled, stream
from examples.tiny import surface_variation as rough
from examples.tiny.batch import DEAD_END, IGNORE, LEGAL, RIGHT, WRONG
from examples.tiny.countdown_work import Work
from examples.tiny.stream import Mixture, Stream
from reason_decode.tasks import countdown
from reason_decode.tiny import Tiny

MIXTURE = Mixture(countdown=6, arithmetic=4, flawed=0.5)


@pytest.mark.parametrize("terse", [False, True])
@pytest.mark.parametrize("varied", [False, True])
@pytest.mark.parametrize("flawed", [0.0, 1.0])
def test_countdown_verdicts_agree_with_the_checker(
    flawed: float, varied: bool, terse: bool
) -> None:
    rng = random.Random(2)
    for _ in range(400):
        work = stream.countdown_problem(rng, flawed, varied=varied, terse=terse)
        assert sampled.grade(work.prompt, work.steps) == list(work.right), work
        problem = countdown.parse_prompt(work.prompt)
        assert problem is not None
        solvable = problem[1] in countdown.reachable(problem[0])
        assert work.right[-1] is (flawed == 0.0 and solvable)


def test_another_hand_changes_no_verdict() -> None:
    rng = random.Random(4)
    for _ in range(400):
        work = rough.roughen(rng, stream.countdown_problem(rng, 0.5))
        assert sampled.grade(work.prompt, work.steps) == list(work.right), work


def test_what_follows_a_dead_end_is_judged_too() -> None:
    """Labels end at the first wrong step, so what a search meets after a dead end was never judged.

    There the generator claims what it needs, "8 * 7/2 = 24", and the verifier believed it. Shown as
    problems of their own such lines were known, but not where they stood: best-of-n went on losing
    to "88 - 6 = 82", "82 / 6 = 24". So labels go on past dead ends, to a line that does not follow.
    """
    steps = (
        "9 / 6 = 3/2 (left: 3/2 5 8)",
        "5 - 3/2 = 7/2 (left: 7/2 8)",
        "8 * 7/2 = 36 (left: 36)",
        "Answer: 8 * (5 - 9 / 6) = 36",
    )
    prompt = "Make 36 from 5 6 8 9.\n"
    assert sampled.grade(prompt, steps) == [False, False, False]
    assert list(sampled.resumed(prompt, steps)) == [
        Work("Make 36 from 3/2 5 8.\n", steps[1:3], (False, False)),
        Work("Make 36 from 7/2 8.\n", steps[2:3], (False,)),
    ]
    assert not list(sampled.resumed("(1 + 2) =\n", ["1 + 2 = 3"]))


@pytest.mark.parametrize("deep", [False, True])
def test_arithmetic_verdicts_agree_with_the_checker(deep: bool) -> None:
    rng = random.Random(3)
    for _ in range(200):
        for work in (
            stream.arithmetic_problem(rng, 0.5, deep=deep),
            stream.arithmetic_problem(rng, 0.5, brief=True),
        ):
            assert sampled.grade(work.prompt, work.steps) == list(work.right), work


def _words(tiny: Tiny) -> PreTrainedTokenizerFast:
    assert isinstance(tiny.tokenizer, PreTrainedTokenizerFast)
    return tiny.tokenizer


def test_the_next_token_is_learnt_of_right_steps_only(tiny: Tiny) -> None:
    words = _words(tiny)
    work = Work("Make 12 from 1 2 3 4.\n", ("a = b", "c = d"), (True, False))
    batch = stream.collate([work], words)
    learnt = batch.labels[0][batch.labels[0] != IGNORE]
    assert words.decode(learnt) == "a = b\n"
    places = (batch.verdicts[0] != IGNORE).nonzero().flatten()
    assert words.convert_ids_to_tokens(batch.ids[0][places].tolist()) == ["Ċ", "Ċ"]
    assert batch.verdicts[0][places].tolist() == [RIGHT, WRONG]


def test_no_verdict_says_that_the_held_out_target_is_a_dead_end(tiny: Tiny) -> None:
    """Holding 24 out made every state that makes it a dead end, and the verifier learnt just that.

    It took `(left: 3 8)` for hopeless with the target 24, having only met it where it was.
    """
    for line, verdict in (
        ("10 - 7 = 3 (left: 3 8)", LEGAL),
        ("10 - 7 = 3 (left: 3 9)", WRONG),
        ("10 - 7 = 4 (left: 3 8)", WRONG),
        ("8 + 7 = 15 (left: 10 15)", DEAD_END),
    ):
        assert _verdict(tiny, Work("Make 36 from 7 8 10.\n", (line,), (False,))) == verdict
    right = Work("Make 11 from 7 8 10.\n", ("10 - 7 = 3 (left: 3 8)",), (True,))
    assert _verdict(tiny, right) == RIGHT


def _verdict(tiny: Tiny, work: Work) -> int:
    verdicts = stream.collate([work], _words(tiny)).verdicts
    return int(verdicts[verdicts != IGNORE])


def test_results_are_digits_at_the_newline_after_two_numbers(tiny: Tiny) -> None:
    work = Work(
        "Make 36 from 7 8 10.\n", ("10 - 7 = 3 (left: 3 8)", "3 * 8 = 24 (left: 24)"), (True, False)
    )
    batch = stream.collate([work], _words(tiny))
    places = (batch.results[0, :, 0] != IGNORE).nonzero().flatten()
    first = (batch.verdicts[0] != IGNORE).nonzero().flatten()[:1]
    assert places.tolist() == first.tolist()
    none = stream.NO_DIGIT
    assert batch.results[0, places[0]].tolist() == [1, 1, 0, 5, 0, 0, 4, 2, 0, none, none, none]


def test_the_same_seed_and_number_make_the_same_batches(tiny: Tiny) -> None:
    one, two = (Stream(_words(tiny), [(0, MIXTURE)], seed=4)[7] for _ in range(2))
    other = Stream(_words(tiny), [(0, MIXTURE)], seed=5)[7]
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a.ids, b.ids) and torch.equal(a.verdicts, b.verdicts)
    assert not all(torch.equal(a.ids, b.ids) for a, b in zip(one, other, strict=True))


def test_a_schedule_changes_the_mixture_at_its_step(tiny: Tiny) -> None:
    small = Mixture(countdown=2, arithmetic=2, varied=3, brief=1, flawed=0.0)
    data = Stream(_words(tiny), [(0, MIXTURE), (3, small)], seed=0)
    assert [sum(len(batch.ids) for batch in data[k]) for k in (2, 3)] == [10, 8]
