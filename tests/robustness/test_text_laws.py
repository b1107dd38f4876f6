"""Laws of steps, answers and votes, on generated inputs."""

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reason_decode import StepSplitter, extract_answer, same_answer
from reason_decode.core.answers import answer_value, evaluate
from reason_decode.core.splitting import StepBoundary
from reason_decode.core.voting import (
    hold_probability,
    is_decided,
    majority_vote,
    should_stop,
    weighted_vote,
)
from reason_decode.tiny import Tiny

# The same examples every time and no deadline, so that a failure is the same on every machine.
laws = settings(max_examples=150, deadline=None, derandomize=True, database=None)
few = settings(laws, max_examples=40)

LINES = st.text(st.sampled_from("ab 1=+\n\n\té\r"), max_size=40)
ANY = st.text(max_size=60)
SEPARATORS = st.sampled_from(["\n", "\n\n"])
PIECES = ["\\boxed{", "{", "}", "#### ", "the answer is ", "Answer: ", "\n", "=", "1", "2/3", " "]
PIECES += ["$", "*", ".", "%", ",", "\\frac", "\\%", "x", "(", ")", "٣", "²", "\ud800", "\x00"]
STATEMENTS = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)


@laws
@given(LINES, SEPARATORS)
def test_joining_and_splitting_steps_keeps_the_text(text: str, separator: str):
    splitter = StepSplitter(separator)
    steps = splitter.split(text)
    assert "".join("".join(steps).split()) == "".join(text.split())
    assert splitter.split(separator.join(steps)) == steps


@laws
@given(ANY, st.text(min_size=1, max_size=3))
def test_steps_are_never_blank_and_their_text_is_kept(text: str, separator: str):
    """They are otherwise what lies between separators: code was once judged without indentation."""
    splitter = StepSplitter(separator)
    steps = splitter.split(text)
    assert all(step.strip() for step in steps)
    assert steps == [piece for piece in text.split(separator) if piece.strip()]
    assert separator.join(splitter.pieces(text)) == text or not text.strip()


@laws
@given(LINES, SEPARATORS, st.lists(st.integers(0, 40), max_size=6))
def test_complete_steps_of_a_growing_text_stay_the_same(text: str, separator: str, cuts: list[int]):
    splitter = StepSplitter(separator)
    before: list[str] = []
    for cut in sorted(cuts):
        now = splitter.complete(text[:cut])
        assert now[: len(before)] == before
        before = now
    assert splitter.split(text)[: len(before)] == before


@few
@given(text=LINES, separator=SEPARATORS, count=st.integers(1, 3))
def test_step_boundaries_in_tokens_are_those_of_the_whole_text(
    tiny: Tiny, text: str, separator: str, count: int
):
    splitter = StepSplitter(separator)
    boundary = StepBoundary(tiny.tokenizer, splitter, count)
    ids = tiny.tokenizer.encode(text, add_special_tokens=False)
    steps: list[str] = []
    pending: list[int] = []
    for token in ids:
        pending.append(token)
        if boundary(pending):
            paused = splitter.complete(str(tiny.tokenizer.decode(pending)))
            assert len(paused) >= count
            steps += paused
            pending = []
    whole = str(tiny.tokenizer.decode(ids))
    assert [*steps, *splitter.split(str(tiny.tokenizer.decode(pending)))] == splitter.split(whole)


@laws
@given(st.one_of(ANY, STATEMENTS))
def test_an_extracted_answer_equals_itself(text: str):
    answer = extract_answer(text)
    if answer is not None:
        assert answer and same_answer(answer, answer)
        assert extract_answer(f"{text}\n#### ") == answer


@laws
@given(st.one_of(ANY, STATEMENTS), st.sampled_from(["#### {}", "Answer: {}", "The answer is {}."]))
def test_the_last_statement_of_a_form_is_the_answer(text: str, form: str):
    stated = form.format("17")
    plain = text.replace("\\boxed", "").replace("#", "").replace("answer is", "")
    assert extract_answer(f"{plain}\n{stated}") == "17"


# Without a backslash nothing is asked of math-verify.
BARE = st.text(st.characters(blacklist_characters="\\"), max_size=30)


@laws
@given(BARE, BARE, st.sampled_from(["", " ", "\n", "\t "]))
def test_same_answer_is_symmetric_and_ignores_outer_space(a: str, b: str, space: str):
    assert same_answer(a, a)
    assert same_answer(a, b) == same_answer(b, a)
    assert same_answer(f"{space}{a}{space}", a)


NUMBERS = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=1000)


def spellings(value: Fraction) -> list[str]:
    """Ways to write a number, all of them exact."""
    p, q = value.numerator, value.denominator
    sign = "-" if p < 0 else ""
    ways = [
        f"{p}/{q}",
        rf"{sign}\frac{{{abs(p)}}}{{{q}}}",
        f"{sign}({abs(p)} ÷ {q})",
        f"$ {p} / {q} $",
    ]
    if q == 1:
        ways += [f"{p:,}", f"{p}.0", f"x = {p}", f"{100 * p}%", rf"\text{{{p}}}"]
    return ways


@laws
@given(NUMBERS, NUMBERS)
def test_numbers_are_the_same_in_any_spelling(a: Fraction, b: Fraction):
    for way in spellings(a):
        assert answer_value(way) == a, way
        assert same_answer(way, spellings(a)[0])
        assert same_answer(way, spellings(b)[0]) == (a == b)


@laws
@given(st.text(st.sampled_from("0123456789+-*/(). "), max_size=30))
def test_evaluate_is_unchanged_by_parentheses(text: str):
    value = evaluate(text)
    assert value is None or isinstance(value, Fraction)
    assert evaluate(f"({text})") == value
    if value is not None:
        assert evaluate(f"-({text})") == -value and evaluate(str(value)) == value


VOTES = st.lists(
    st.tuples(st.sampled_from(["1", "1.0", "2/2", "2", "3", None]), st.integers(0, 5)),
    min_size=1,
    max_size=12,
)
Vote = tuple[str | None, int]


def sums(votes: list[Vote]) -> dict[Fraction | None, float]:
    """Weight by value, however the answers are written and in whichever order they came."""
    answers, weights = [a for a, _ in votes], [float(w) for _, w in votes]
    return {answer_value(a): w for a, w in weighted_vote(answers, weights).weights.items()}


@laws
@given(VOTES, st.randoms(use_true_random=False))
def test_a_vote_does_not_depend_on_order_except_for_ties(votes: list[Vote], random):  # pyright: ignore
    shuffled = random.sample(votes, len(votes))
    assert sums(shuffled) == sums(votes)
    answers, weights = [a for a, _ in votes], [float(w) for _, w in votes]
    first = weighted_vote(answers, weights)
    best = [value for value, w in sums(votes).items() if w == max(sums(votes).values())]
    if len(best) == 1:
        again = weighted_vote([a for a, _ in shuffled], [float(w) for _, w in shuffled])
        assert answer_value(str(again.answer)) == answer_value(str(first.answer)) == best[0]
    elif best:
        # Of equal groups the one that appeared first.
        seen = [answer_value(a) for a in answers if a is not None]
        assert answer_value(str(first.answer)) == min(best, key=seen.index)


@laws
@given(VOTES, st.sampled_from([0.125, 0.5, 2.0, 1024.0]))
def test_scaling_the_weights_does_not_change_a_vote(votes: list[Vote], factor: float):
    answers, weights = [a for a, _ in votes], [float(w) for _, w in votes]
    one, other = (
        weighted_vote(answers, weights),
        weighted_vote(answers, [w * factor for w in weights]),
    )
    assert (one.answer, one.voters, one.representative) == (
        other.answer,
        other.voters,
        other.representative,
    )
    assert {a: w * factor for a, w in one.weights.items()} == other.weights


@laws
@given(VOTES)
def test_the_winners_voters_gave_its_answer(votes: list[Vote]):
    answers, weights = [a for a, _ in votes], [float(w) for _, w in votes]
    vote = weighted_vote(answers, weights)
    assert vote.representative in vote.voters
    if vote.answer is None:
        assert not vote.weights and len(vote.voters) == len(votes)
    else:
        assert all(same_answer(str(answers[k]), vote.answer) for k in vote.voters)
        total = math.fsum(weights[k] for k in vote.voters)
        assert total == vote.weights[vote.answer] == max(vote.weights.values())


@laws
@given(st.lists(st.sampled_from(["1", "2", "3", None]), min_size=1, max_size=16))
def test_a_vote_that_is_decided_elects_no_other(answers: list[str | None]):
    for asked in range(1, len(answers) + 1):
        so_far = majority_vote(answers[:asked])
        if should_stop([*so_far.weights.values()], len(answers) - asked, "decided"):
            assert so_far.answer == majority_vote(answers).answer
            break


@pytest.mark.slow
@laws
@given(st.lists(st.integers(0, 20).map(float), max_size=5), st.integers(0, 20))
def test_the_leader_s_chance_is_a_probability_and_certain_once_decided(
    counts: list[float], left: int
):
    chance = hold_probability(counts, left)
    assert 0.0 <= chance <= 1.0 + 1e-12
    if is_decided(counts, left):
        assert chance == pytest.approx(1.0)
    assert hold_probability(counts[::-1], left) == chance
