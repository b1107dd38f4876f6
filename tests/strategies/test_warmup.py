import pytest
from run_strategy import generate, total, traces

from reason_decode import Candidate, ConfidenceScorer, SelfConsistency
from reason_decode.strategies.warmup import WarmUp
from reason_decode.tiny import Tiny

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]
GROUP = ConfidenceScorer("group", window=8)


def _strategy(tiny: Tiny, **options: object) -> SelfConsistency:
    given = {"n": 16, "scorer": GROUP, "top": 0.5, "warm_up": 4, "check_every": 8, **options}
    return SelfConsistency(tokenizer=tiny.tokenizer, **given)  # pyright: ignore[reportArgumentType]


def _is_cut(candidate: Candidate) -> bool:
    return not candidate.finished and candidate.tokens < 120


def test_what_falls_below_the_floor_is_cut_off_and_does_not_vote(tiny: Tiny) -> None:
    cut = 0
    for trace in traces(generate(tiny, _strategy(tiny), PROMPTS)):
        warm_up, others = trace.candidates[:4], trace.candidates[4:]
        floor = sorted(map(total, warm_up))[2]
        assert len(others) == 12 and not any(_is_cut(x) for x in warm_up)
        cut += sum(map(_is_cut, others))
        assert all(total(x) < floor for x in others if _is_cut(x))
        assert trace.votes is not None
        voters = [total(x) for x in trace.candidates if x.answer and total(x) >= floor]
        assert sum(trace.votes.values()) == pytest.approx(sum(voters))
    assert cut > 0


def test_a_cut_solution_ends_at_a_check_and_no_token_is_read_twice(tiny: Tiny) -> None:
    out = generate(tiny, _strategy(tiny), PROMPTS)
    candidates = [x for trace in traces(out) for x in trace.candidates]
    assert all(x.tokens % 8 == 0 for x in candidates if _is_cut(x))
    sampled = sum(x.tokens for x in candidates)
    prompts = sum(len(x) for x in tiny.tokenizer(PROMPTS)["input_ids"])
    # The last token of a solution is not read.
    assert out.cost is not None
    assert out.cost.sampled == sampled and out.cost.decode == sampled - len(candidates)
    assert out.cost.prefill == prompts and out.cost.scorer == 0


def test_a_warm_up_of_all_is_the_vote_of_all(tiny: Tiny) -> None:
    found, expected = (
        traces(generate(tiny, _strategy(tiny, top=1.0, warm_up=k), PROMPTS)) for k in (16, None)
    )
    assert found == expected


def test_an_early_stop_counts_votes_of_whole_solutions(tiny: Tiny) -> None:
    strategy = _strategy(tiny, early_stop="decided")
    for trace in traces(generate(tiny, strategy, PROMPTS)):
        assert 4 <= len(trace.candidates) <= 16
        assert len(trace.candidates) % 2 == 0  # in turns of an eighth of 16


def test_the_floor_is_the_least_of_the_top_share() -> None:
    assert WarmUp(n=8, warm_up=4, top=0.5, check_every=1).floor([3.0, 1.0, 2.0, 4.0]) == 3.0
    assert WarmUp(n=8, warm_up=4, top=1.0, check_every=1).floor([3.0, 1.0, 2.0, 4.0]) == 1.0


def test_settings_that_cannot_work_are_refused(tiny: Tiny) -> None:
    for options, match in (
        ({"warm_up": 17}, "got warm_up=17, n=16"),
        ({"warm_up": 4, "max_tokens": 999}, "max_tokens=999"),
        ({"warm_up": 0}, "got warm_up=0"),
        ({"scorer": None, "top": 1.0}, "pass scorer=ConfidenceScorer"),
    ):
        with pytest.raises(ValueError, match=match):
            _strategy(tiny, **options)
    with pytest.raises(ValueError, match="pass scorer=ConfidenceScorer"):
        generate(tiny, _strategy(tiny, scorer=tiny.prm), PROMPTS)
