import math
from typing import Any

import pytest
import torch
from run_strategy import generate, total, traces

from reason_decode import BestOfN, ConfidenceScorer, LikelihoodScorer
from reason_decode.testing import check_strategy
from reason_decode.tiny import Tiny

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]


@pytest.mark.parametrize("every", [1, 2])
def test_the_worst_of_those_that_run_are_given_up(tiny: Tiny, every: int) -> None:
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=8, reject=0.5, reject_every=every)
    for trace in traces(generate(tiny, strategy, PROMPTS)):
        for k, steps in enumerate(trace.rounds, start=1):
            running = [x for x in steps if not x.finished and x.tokens]
            kept = [x for x in running if x.kept]
            # A solution that the limit of tokens cut off is kept, too.
            if k % every == 0 and k < len(trace.rounds):
                assert len(kept) == math.ceil(len(running) / 2)
                best = sorted(map(total, running), reverse=True)[: len(kept)]
                assert sorted(map(total, kept), reverse=True) == best
            elif k % every:
                assert len(kept) == len(running)
        ended = [x for x in trace.candidates if x.finished] or trace.candidates
        assert total(trace.best) == max(map(total, ended))


@pytest.mark.parametrize("name", ["prm", "verifier whole", "likelihood", "confidence"])
def test_tokens_are_saved_and_none_is_read_twice(tiny: Tiny, name: str) -> None:
    scorers: dict[str, Any] = {
        "prm": tiny.prm,
        "verifier whole": tiny.orm,
        "likelihood": LikelihoodScorer(tiny.model, tiny.tokenizer),
        "confidence": ConfidenceScorer(per_step=True),
    }
    ways: list[dict[str, Any]] = [{}, {"reject": 0.5}]
    outs = [
        generate(tiny, BestOfN(scorers[name], tokenizer=tiny.tokenizer, n=8, **how), PROMPTS)
        for how in ways
    ]
    whole, rejecting = (out.cost for out in outs)
    assert whole is not None and rejecting is not None
    assert rejecting.sampled < whole.sampled and rejecting.prefill == whole.prefill
    assert rejecting.decode <= rejecting.sampled
    if name in ("prm", "verifier whole"):
        # Beside its tokens a step has a separator, and a solution its prompt once.
        assert rejecting.scorer <= whole.scorer * (1 if name == "prm" else 2)


def test_one_candidate_is_what_plain_generate_samples(tiny: Tiny) -> None:
    def strategy(n: int) -> BestOfN:
        return BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=n, reject=0.5)

    check_strategy(strategy, tiny.model, tiny.tokenizer, PROMPTS)


def test_copies_of_the_best_fill_what_is_asked_for(tiny: Tiny) -> None:
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=8, reject=0.9)
    out = generate(tiny, strategy, PROMPTS[:1], num_return_sequences=4)
    assert isinstance(out.sequences, torch.Tensor) and len(out.sequences) == 4


def test_shares_that_reject_nothing_or_all_are_refused(tiny: Tiny) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"reject": 0.0}, "got reject=0.0; need a share between 0 and 1"),
        ({"reject": 1.0}, "got reject=1.0"),
        ({"reject": 0.5, "reject_every": 0}, "got reject_every=0"),
        ({"reject": 0.5, "score_part": "answer"}, "score_part='answer'"),
    ]
    for options, match in wrong:
        with pytest.raises(ValueError, match=match):
            BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=4, **options)
