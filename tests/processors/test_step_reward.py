import math
from typing import Any

import pytest
import torch
from run_processor import generate

from reason_decode import StepRewardLogitsProcessor, StepSearch
from reason_decode.tiny import Tiny
from tests.fakes import TableScorer

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]


def test_only_the_first_token_of_a_step_is_rewarded(tiny: Tiny) -> None:
    scorer = TableScorer(lambda step: float(step.startswith("6")))
    processor = StepRewardLogitsProcessor(scorer, tiny.tokenizer, weight=100.0, candidates=50)
    (text,) = generate(tiny, PROMPTS[:1], processor)
    lines = text.splitlines()
    assert len(lines) > 1
    assert all(line.startswith("6") for line in lines)
    assert len(scorer.asked) == 50 * len(lines)
    for prompt, asked in scorer.asked:
        assert prompt == PROMPTS[0]
        assert text.startswith(str(asked).rpartition("\n")[0])


def test_rewards_are_added_by_the_formula(tiny: Tiny) -> None:
    scores = torch.zeros(1, tiny.model.config.vocab_size)
    words = tiny.tokenizer
    six, four = words("6", add_special_tokens=False)["input_ids"][0], words("4")["input_ids"][-1]
    scores[0, six], scores[0, four] = 3.0, 2.0
    scorer = TableScorer(lambda step: {"6": 0.25, "4": 0.75}.get(step, 0.5))
    processor = StepRewardLogitsProcessor(scorer, words, weight=2.0, candidates=2)
    ids = words(PROMPTS[:1], return_tensors="pt")["input_ids"]
    found = processor(ids, scores)
    expected = scores + 0.5
    expected[0, four] = 2.0 + 1.5
    torch.testing.assert_close(found, expected)
    again = processor(torch.cat([ids, torch.tensor([[six]])], dim=1), scores)
    torch.testing.assert_close(again, scores)


def test_interval_rewards_again_within_a_step(tiny: Tiny) -> None:
    asked: list[int] = []
    for interval in (None, 2):
        scorer = TableScorer(lambda step: 0.5)
        processor = StepRewardLogitsProcessor(
            scorer, tiny.tokenizer, candidates=1, interval=interval
        )
        plain = generate(tiny, PROMPTS[:1], None, max_new_tokens=9)
        assert generate(tiny, PROMPTS[:1], processor, max_new_tokens=9) == plain
        asked.append(len(scorer.asked))
    assert asked == [1, 5]


def test_step_rewards_of_a_batch_are_those_of_its_rows_call_after_call(tiny: Tiny) -> None:
    processor = StepRewardLogitsProcessor(tiny.prm, tiny.tokenizer, weight=8.0)
    both = generate(tiny, PROMPTS, processor)
    for prompt, text in zip(PROMPTS, both, strict=True):
        assert generate(tiny, [prompt], processor) == [text]


@pytest.mark.slow
def test_step_rewards_without_weight_change_nothing(tiny: Tiny) -> None:
    search = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=2, beam_width=2)
    idle = StepRewardLogitsProcessor(tiny.prm, tiny.tokenizer, weight=0, interval=3)
    for how in ({}, {"do_sample": True, "custom_generate": search}):
        assert generate(tiny, PROMPTS, idle, **how) == generate(tiny, PROMPTS, None, **how)


@pytest.mark.parametrize("how", [{"weight": math.nan}, {"candidates": 0}, {"interval": 0}])
def test_step_rewards_reject_invalid_arguments(tiny: Tiny, how: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="need"):
        StepRewardLogitsProcessor(tiny.prm, tiny.tokenizer, **how)
