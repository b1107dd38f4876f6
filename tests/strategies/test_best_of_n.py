import copy
from typing import Any

import pytest
import torch
from run_strategy import generate, total, traces

from reason_decode import BestOfN, RationaleScorer
from reason_decode.scorers import RationaleWriter
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close, roundings

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]


def test_returns_the_candidate_that_scores_best(tiny: Tiny) -> None:
    out = generate(tiny, BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=6), PROMPTS)
    texts = tiny.tokenizer.batch_decode(out.sequences, skip_special_tokens=True)
    for prompt, text, trace in zip(PROMPTS, texts, traces(out), strict=True):
        best = max(trace.candidates, key=total)
        assert trace.prompt == prompt
        assert text == prompt + best.text == prompt + trace.best.text
        assert len({c.text for c in trace.candidates}) > 1


@pytest.mark.numeric
def test_scores_equal_those_of_the_scorer_alone(tiny: Tiny) -> None:
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=3, reduce="min")
    for trace in traces(generate(tiny, strategy, PROMPTS)):
        alone = tiny.prm.score([trace.prompt] * 3, [c.text for c in trace.candidates])
        found = [torch.tensor(candidate.scores) for candidate in trace.candidates]
        assert_close(found, alone, terms=roundings(tiny.prm.model))
        assert all(candidate.total == min(candidate.scores) for candidate in trace.candidates)


def test_num_return_sequences_gives_the_k_best_in_order(tiny: Tiny) -> None:
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=5)
    out = generate(tiny, strategy, PROMPTS, num_return_sequences=3)
    assert len(out.sequences) == 6
    for trace in traces(out):
        totals = [total(trace.candidates[i]) for i in trace.chosen]
        assert totals == sorted(map(total, trace.candidates), reverse=True)[:3]


def test_of_equal_scores_the_first_wins(tiny: Tiny) -> None:
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=4)
    out = generate(tiny, strategy, PROMPTS, top_k=1)
    assert all(trace.chosen == (0,) for trace in traces(out))


def test_returns_a_tensor_unless_a_dict_is_requested(tiny: Tiny) -> None:
    inputs = tiny.tokenizer(PROMPTS[:1], return_tensors="pt")
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=2)
    out = tiny.model.generate(**inputs, max_new_tokens=5, do_sample=True, custom_generate=strategy)
    assert isinstance(out, torch.Tensor)


def test_deep_copies_share_the_strategy(tiny: Tiny) -> None:
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer)
    assert copy.deepcopy({"custom_generate": strategy})["custom_generate"] is strategy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"do_sample": False}, "n=4 candidates, which greedy decoding makes all alike.*do_sample"),
        ({"num_return_sequences": 5}, "num_return_sequences=5; BestOfN returns at most 4"),
        ({"num_beams": 2}, "num_beams=2, allowed is 1"),
        ({"cache_implementation": "offloaded"}, "past_key_values or a DynamicCache"),
        ({"cache_implementation": "static"}, "StaticCache"),
        ({"output_scores": True}, "output_scores=True. Drop it"),
    ],
)
def test_rejects_impossible_calls_before_the_first_forward_pass(
    tiny: Tiny, arguments: dict[str, object], message: str
) -> None:
    inputs = tiny.tokenizer(PROMPTS[:1], return_tensors="pt")
    options = {"do_sample": True, "max_new_tokens": 4, **arguments}
    calls: list[int] = []
    hook = tiny.model.register_forward_hook(lambda *_: calls.append(1))
    with pytest.raises(ValueError, match=message):
        tiny.model.generate(
            **inputs, custom_generate=BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=4), **options
        )
    hook.remove()
    assert not calls


def test_rejects_inputs_embeds(tiny: Tiny) -> None:
    embeds = torch.zeros(1, 3, tiny.model.config.hidden_size)
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer)
    with pytest.raises(ValueError, match="pass input_ids, not inputs_embeds"):
        tiny.model.generate(
            inputs_embeds=embeds, max_new_tokens=4, do_sample=True, custom_generate=strategy
        )


@pytest.mark.parametrize(("name", "value"), [("n", 0), ("reduce", "max")])
def test_rejects_invalid_arguments(tiny: Tiny, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"got {name}="):
        BestOfN(tiny.prm, tokenizer=tiny.tokenizer, **{name: value})


def test_log_probabilities_are_not_multiplied(tiny: Tiny) -> None:
    scorer = RationaleScorer(RationaleWriter(tiny.model, tiny.tokenizer))
    with pytest.raises(ValueError, match="log-probabilities"):
        BestOfN(scorer, tokenizer=tiny.tokenizer, reduce="prod")
    assert BestOfN(scorer, tokenizer=tiny.tokenizer, reduce="mean").reduce == "mean"


def test_a_call_without_a_cache_is_plain_generation_and_says_what_it_reads(tiny: Tiny) -> None:
    """MPT's own config switches the cache off; such calls were refused."""
    inputs = tiny.tokenizer(PROMPTS[:1], return_tensors="pt")
    how: dict[str, Any] = {"use_cache": False, "max_new_tokens": 6}
    one, two = (BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=n) for n in (1, 2))
    plain = tiny.model.generate(**inputs, **how, do_sample=False)
    ours = tiny.model.generate(**inputs, **how, do_sample=False, custom_generate=one)
    assert torch.equal(plain, ours)
    with pytest.warns(UserWarning, match="each prompt is read 2 times"):
        tiny.model.generate(**inputs, **how, do_sample=True, custom_generate=two)
