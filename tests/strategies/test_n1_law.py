"""With n=1 a strategy returns the tokens of plain ``generate``."""

import pytest
import torch

from reason_decode import (
    BestOfN,
    RationaleGuided,
    RationaleScorer,
    SelfConsistency,
    StepSearch,
)
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.strategies.base import Strategy
from reason_decode.tiny import Tiny

COUNTDOWN = "Make 36 from 4 5 6 10.\n"
ARITHMETIC = "((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7)) =\n"
BATCHES = {
    "single": [COUNTDOWN],
    "equal lengths": [COUNTDOWN, "Make 27 from 1 7 7 13.\n"],
    "padded": [COUNTDOWN, ARITHMETIC, "Make 30 from 1 2 3 4.\n"],
}


def _same(
    tiny: Tiny, strategy: Strategy, prompts: list[str], sampled: bool, **options: object
) -> None:
    inputs = tiny.tokenizer(prompts, return_tensors="pt", padding=True)
    # Solutions of the padded batch end, each at another token; the others are cut off.
    tokens = 120 if len(prompts) == 3 else 40
    arguments = {**inputs, "max_new_tokens": tokens, "do_sample": sampled, **options}
    torch.manual_seed(5)
    plain = tiny.model.generate(**arguments)
    torch.manual_seed(5)
    ours = tiny.model.generate(**arguments, custom_generate=strategy)
    assert torch.equal(plain, ours)


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("batch", BATCHES)
def test_best_of_one(tiny: Tiny, batch: str, sampled: bool) -> None:
    _same(tiny, BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=1), BATCHES[batch], sampled)


@pytest.mark.parametrize("batch", BATCHES)
def test_self_consistency_of_one(tiny: Tiny, batch: str) -> None:
    _same(tiny, SelfConsistency(tokenizer=tiny.tokenizer, n=1), BATCHES[batch], True)


@pytest.mark.parametrize("batch", BATCHES)
def test_step_search_of_one_greedy(tiny: Tiny, batch: str) -> None:
    _same(tiny, StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=1), BATCHES[batch], False)


@pytest.mark.parametrize("batch", BATCHES)
def test_rationale_guided_of_one_greedy(tiny: Tiny, batch: str) -> None:
    writer = RationaleWriter(tiny.model, tiny.tokenizer, chat=False, max_new_tokens=4)
    guided = RationaleGuided(RationaleScorer(writer), tokenizer=tiny.tokenizer, n=1)
    _same(tiny, guided, BATCHES[batch], False)


@pytest.mark.parametrize("prompt", [COUNTDOWN, ARITHMETIC])
def test_step_search_of_one_sampled(tiny: Tiny, prompt: str) -> None:
    _same(tiny, StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=1), [prompt], True)


@pytest.mark.parametrize("strategy", [BestOfN, StepSearch])
def test_processors_see_what_they_see_in_plain_generation(
    tiny: Tiny, strategy: type[BestOfN] | type[StepSearch]
) -> None:
    one = strategy(tiny.prm, tokenizer=tiny.tokenizer, n=1)
    warped = {"repetition_penalty": 1.3, "temperature": 0.7, "top_k": 20, "top_p": 0.9}
    _same(tiny, one, [ARITHMETIC], True, **warped)


def test_max_new_tokens_cuts_where_plain_generation_does(tiny: Tiny) -> None:
    for strategy in (BestOfN, StepSearch):
        one = strategy(tiny.prm, tokenizer=tiny.tokenizer, n=1)
        _same(tiny, one, BATCHES["padded"], False, max_new_tokens=23)


def test_holds_for_random_weights_and_another_vocabulary(tiny: Tiny, other: Tiny) -> None:
    """The law does not depend on a trained model."""
    for strategy in (BestOfN, StepSearch):
        one = strategy(tiny.prm, tokenizer=other.tokenizer, n=1)
        _same(other, one, ["a b\nc", "d"], False, max_new_tokens=40)
