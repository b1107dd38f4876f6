"""Lookahead: a step is ranked by the score of its greedy continuation."""

import dataclasses

import pytest
import torch
from run_strategy import generate, total, traces

from reason_decode import StepSearch
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close, roundings

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]


@pytest.mark.numeric
def test_totals_are_the_scores_of_the_lookahead(tiny: Tiny) -> None:
    """search-and-learn generates the lookahead, and then scores the step without it."""
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=3, lookahead=2)
    out = generate(tiny, strategy, PROMPTS)
    seen = 0
    for prompt, trace in zip(PROMPTS, traces(out), strict=True):
        kept: list[str] = []
        for round_ in trace.rounds:
            for step in round_:
                ahead = step.lookahead_text.split("\n") if step.lookahead_text else []
                seen += bool(ahead)
                # A step may be nothing but the end of the sequence.
                texts = [text for text in (*kept, step.text, *ahead) if text]
                (scores,) = tiny.prm.score([prompt], [texts])
                # A probability: a share of 1, whichever its step's is.
                terms = roundings(tiny.prm.model)
                assert_close(total(step), float(scores[-1]), terms=terms, scale=1.0)
                assert len(ahead) <= 2
            kept += [step.text for step in round_ if step.kept]
    assert seen > 8


def test_lookahead_text_is_the_greedy_continuation(tiny: Tiny) -> None:
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=2, lookahead=1)
    (trace,) = traces(generate(tiny, strategy, PROMPTS[:1]))
    for step in trace.rounds[0]:
        said = generate(
            tiny,
            StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=1, max_steps=1),
            [f"{PROMPTS[0]}{step.text}\n"],
            do_sample=False,
        )
        assert traces(said)[0].best.text.strip() == step.lookahead_text


def test_lookahead_with_one_candidate_changes_no_token(tiny: Tiny) -> None:
    one = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=1)
    ahead = dataclasses.replace(one, lookahead=3)
    assert torch.equal(
        generate(tiny, one, PROMPTS, max_new_tokens=60).sequences,
        generate(tiny, ahead, PROMPTS, max_new_tokens=60).sequences,
    )


def test_a_beam_with_lookahead_keeps_the_best_of_each_round(tiny: Tiny) -> None:
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=3, beam_width=2, lookahead=1)
    for trace in traces(generate(tiny, strategy, PROMPTS, max_new_tokens=100)):
        for round_ in trace.rounds:
            kept = [total(step) for step in round_ if step.kept]
            dropped = [total(step) for step in round_ if not step.kept]
            assert not dropped or not kept or min(kept) >= max(dropped)
        (alone,) = tiny.prm.score([trace.prompt], [trace.best.text])
        assert_close(torch.tensor(trace.best.scores), alone, terms=roundings(tiny.prm.model))
