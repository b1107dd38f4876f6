import dataclasses
import math
from typing import Any

import pytest
import torch
from run_strategy import generate, total, traces

from reason_decode import StepSearch
from reason_decode.core.solutions import Step
from reason_decode.tasks.countdown import state_key
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close, roundings

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n", "Make 20 from 1 1 4 5.\n"]
COUNTDOWN = PROMPTS[::2]  # solved within 120 tokens, in three steps


@pytest.mark.parametrize("beam_width", [1, 3])
def test_kept_steps_are_the_best_of_their_round(tiny: Tiny, beam_width: int) -> None:
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=4, beam_width=beam_width)
    # Tokens enough for all: a trajectory that is cut off would rank last, whatever its score.
    for trace in traces(generate(tiny, strategy, COUNTDOWN, max_new_tokens=120)):
        for round_ in trace.rounds:
            kept = [total(step) for step in round_ if step.kept]
            dropped = [total(step) for step in round_ if not step.kept]
            assert len(kept) <= beam_width
            assert not dropped or not kept or min(kept) >= max(dropped)


@pytest.mark.parametrize("how", [{}, {"subtrees": 2}, {"margin": 0.5}, {"lookahead": 1}])
def test_parents_point_at_the_step_that_is_continued(tiny: Tiny, how: dict[str, Any]) -> None:
    """``parent`` was once an index into the beam, whose order is not in the trace."""
    strategy = StepSearch(
        tiny.prm, tokenizer=tiny.tokenizer, n=4, beam_width=4, reduce="prod", **how
    )
    for trace in traces(generate(tiny, strategy, COUNTDOWN, max_new_tokens=120)):
        ends: set[tuple[str, ...]] = set()
        paths: list[tuple[tuple[str, ...], float]] = [((), 1.0)]
        for k, round_ in enumerate(trace.rounds):
            before, paths = paths, []
            for step in round_:
                told = trace.rounds[k - 1][step.parent] if step.parent is not None else None
                assert told is None or (told.kept and not told.finished)
                texts, product = before[step.parent or 0]
                if step.score is not None:
                    texts, product = (*texts, step.text), product * step.score
                paths.append((texts, product))
                # A dozen factors, each rounded once: to 2 ** -24 of the product.
                assert step.lookahead_text is not None or math.isclose(
                    total(step), product, rel_tol=1e-6
                )
            ends |= {texts for texts, _ in paths}
        assert {candidate.steps for candidate in trace.candidates} <= ends


def test_a_margin_drops_what_is_far_below_the_best(tiny: Tiny) -> None:
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=4, beam_width=4, margin=0.1)
    out = generate(tiny, strategy, COUNTDOWN)
    for trace in traces(out):
        for round_ in trace.rounds:
            kept = [total(step) for step in round_ if step.kept]
            assert not kept or min(kept) >= max(kept) - 0.1
    whole = generate(tiny, dataclasses.replace(strategy, margin=None), COUNTDOWN)
    assert out.cost is not None and whole.cost is not None
    assert out.cost.sampled < whole.cost.sampled
    with pytest.raises(ValueError, match="0 or more"):
        dataclasses.replace(strategy, margin=-0.5)


def test_subtrees_are_searched_independently(tiny: Tiny) -> None:
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=4, beam_width=3, subtrees=3)
    for trace in traces(generate(tiny, strategy, PROMPTS)):
        firsts = [candidate.steps[0] for candidate in trace.candidates]
        assert len(firsts) == len(set(firsts)) == min(3, len({x.text for x in trace.rounds[0]}))
        for round_ in trace.rounds[1:]:
            kept = [step.parent for step in round_ if step.kept]
            assert len(kept) == len(set(kept))
    with pytest.raises(ValueError, match="got beam_width=4 for subtrees=3"):
        dataclasses.replace(strategy, beam_width=4)


@pytest.mark.numeric
def test_totals_are_the_reduced_scores_of_the_whole_solution(tiny: Tiny) -> None:
    """Cached scores, step by step, equal those of one stateless pass over the result."""
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=4, beam_width=2, reduce="prod")
    out = generate(tiny, strategy, PROMPTS)
    for prompt, trace in zip(PROMPTS, traces(out), strict=True):
        (alone,) = tiny.prm.score([prompt], [trace.best.text])
        terms = roundings(tiny.prm.model)
        assert_close(torch.tensor(trace.best.scores), alone, terms=terms)
        # Of factors up to 1 the errors add up.
        assert_close(total(trace.best), float(alone.prod()), terms=terms, scale=float(len(alone)))


def test_totals_are_the_last_scores_by_default(tiny: Tiny) -> None:
    """Products never forgave a doubtful first step: 50 games of 100 solved, 75 by "last"."""
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=4, beam_width=2)
    for trace in traces(generate(tiny, strategy, PROMPTS)):
        assert total(trace.best) == trace.best.scores[-1]


def test_sequences_spell_the_chosen_trajectory(tiny: Tiny) -> None:
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=3, beam_width=2)
    out = generate(tiny, strategy, PROMPTS)
    texts = tiny.tokenizer.batch_decode(out.sequences, skip_special_tokens=True)
    assert texts == [trace.prompt + trace.best.text for trace in traces(out)]


def test_num_return_sequences_gives_the_k_best_of_the_beam(tiny: Tiny) -> None:
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=4, beam_width=3)
    out = generate(tiny, strategy, PROMPTS[:1], num_return_sequences=3)
    assert len(out.sequences) == 3
    totals = [total(candidate) for candidate in traces(out)[0].candidates]
    assert totals == sorted(totals, reverse=True)
    with pytest.raises(ValueError, match="at most 3"):
        generate(tiny, strategy, PROMPTS[:1], num_return_sequences=4)


def test_without_a_step_boundary_the_cut_text_is_one_step_and_unfinished(tiny: Tiny) -> None:
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=2)
    (trace,) = traces(generate(tiny, strategy, PROMPTS[:1], max_new_tokens=5))
    assert not trace.best.finished
    assert trace.best.tokens == 5
    assert len(trace.best.steps) == len(trace.best.scores) == 1


def test_max_steps_stops_the_search(tiny: Tiny) -> None:
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=2, max_steps=2)
    (trace,) = traces(generate(tiny, strategy, PROMPTS[1:2]))
    assert len(trace.rounds) == 2
    assert len(trace.best.steps) == 2


def test_cut_off_trajectories_never_beat_finished_ones(tiny: Tiny) -> None:
    """At ``max_steps`` an unfinished trajectory was ranked as if it had finished."""
    prompts = ["Make 20 from 1 1 4 5.\n"] * 4
    for steps in (4, 5):
        strategy = StepSearch(
            tiny.prm, tokenizer=tiny.tokenizer, n=3, beam_width=3, max_steps=steps
        )
        for trace in traces(generate(tiny, strategy, prompts, top_k=0, num_return_sequences=3)):
            finished = [trace.candidates[k].finished for k in trace.chosen]
            assert finished == sorted(finished, reverse=True)


def test_max_steps_holds_for_every_prompt_of_a_batch(tiny: Tiny) -> None:
    """``max_steps`` once counted the first prompt's rounds, which end when it has finished."""
    prompts = ["Make 20 from 1 1 4 5.\n", "((1 + 2) * (3 - 4)) =\n"]
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=2, max_steps=6)
    first, second = traces(generate(tiny, strategy, prompts))
    assert len(first.rounds) < 6
    assert len(second.rounds) == 6


def test_the_first_round_samples_as_many_steps_as_later_ones(tiny: Tiny) -> None:
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=4, beam_width=3)
    (trace,) = traces(generate(tiny, strategy, PROMPTS[:1], top_k=0))
    assert 4 < len(trace.rounds[0]) <= 12


def test_kept_trajectories_differ_in_their_state_key(tiny: Tiny) -> None:
    strategy = StepSearch(
        tiny.prm, tokenizer=tiny.tokenizer, n=8, beam_width=4, state_key=state_key
    )
    (trace,) = traces(generate(tiny, strategy, PROMPTS[:1]))
    plain = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=8, beam_width=4)
    (other,) = traces(generate(tiny, plain, PROMPTS[:1]))

    def kept(round_: tuple[Step, ...]) -> list[tuple[str, ...]]:
        return [state_key([step.text]) for step in round_ if step.kept and step.text]

    assert all(len(set(kept(round_))) == len(kept(round_)) for round_ in trace.rounds)
    assert any(len(set(kept(round_))) < len(kept(round_)) for round_ in other.rounds)
