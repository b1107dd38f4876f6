"""Processors and criteria see what they would see in plain ``generate``, however rows branch."""

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    SynthIDTextWatermarkingConfig,
    WatermarkingConfig,
)

from reason_decode import BestOfN, SelfConsistency, StepSearch
from reason_decode.strategies.base import Strategy
from reason_decode.tiny import Tiny
from tests.architectures import random_model
from tests.fakes import TableScorer
from tests.tolerance import assert_close, roundings

PROMPTS = ["2 + 2 =\n", "Make 24 from 4 5 6.\n"]
NEW_TOKENS = 14
BY_WIDTH: dict[str, dict[str, Any]] = {
    "min_new_tokens": {"min_new_tokens": 9},
    "min_length": {"min_length": 24},
    "forced_eos_token_id": {"forced_eos_token_id": 2},
    "exponential_decay_length_penalty": {"exponential_decay_length_penalty": (3, 1.2)},
    "begin_suppress_tokens": {"begin_suppress_tokens": [201, 206]},
}
BY_ROW: dict[str, dict[str, Any]] = {
    "repetition_penalty": {"repetition_penalty": 1.3},
    "encoder_repetition_penalty": {"encoder_repetition_penalty": 1.4},
    "encoder_no_repeat_ngram_size": {"encoder_no_repeat_ngram_size": 1},
    "no_repeat_ngram_size": {"no_repeat_ngram_size": 2},
    "watermark": {"watermarking_config": WatermarkingConfig(bias=3.0)},
    "SynthID": {"watermarking_config": SynthIDTextWatermarkingConfig(keys=[1, 2], ngram_len=3)},
    "guidance_scale": {"guidance_scale": 1.7},
}


def _inputs(tiny: Tiny, prompts: list[str] = PROMPTS) -> Any:
    return tiny.tokenizer(prompts, return_tensors="pt", padding=True)


def _newline_bias(tiny: Tiny, size: float = 6.0) -> list[Any]:
    return [[tiny.tokenizer.convert_tokens_to_ids("Ċ")], size]


def _search(tiny: Tiny, **fields: Any) -> StepSearch:
    return StepSearch(TableScorer(len), tokenizer=tiny.tokenizer, **fields)


def _generate(tiny: Tiny, inputs: Any, **options: Any) -> Any:
    """Greedy tokens of a random Llama, in which lines and texts end often."""
    model: Any = random_model("llama", len(tiny.tokenizer))
    how = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0}
    how["sequence_bias"] = [_newline_bias(tiny), [[2], 4.0]]
    return model.generate(**inputs, **{**how, **options})


@pytest.mark.parametrize("option", [*BY_WIDTH, *BY_ROW])
def test_a_search_of_one_is_plain_generation_with_any_processor(tiny: Tiny, option: str) -> None:
    """Rows were padded anew after a step, under the padding and the widths of the first round."""
    options, inputs = (BY_WIDTH | BY_ROW)[option], _inputs(tiny)
    plain = _generate(tiny, inputs, **options)
    assert torch.equal(
        plain, _generate(tiny, inputs, **options, custom_generate=_search(tiny, n=1))
    )


# Watermarks follow the temperature: at almost none they leave no mark.
@pytest.mark.parametrize("option", [x for x in BY_ROW if x not in ("watermark", "SynthID")])
@pytest.mark.parametrize("sequences", [1, 2])
def test_copies_of_a_row_have_its_entries(tiny: Tiny, option: str, sequences: int) -> None:
    """``Incompatible prompt_ignore_length batch size`` ended every call with n > 1."""
    inputs, cold = _inputs(tiny), {"do_sample": True, "temperature": 1e-4, "top_k": 0}
    plain = _generate(tiny, inputs, **BY_ROW[option])
    best = BestOfN(TableScorer(len), tokenizer=tiny.tokenizer, n=3)
    beam = _search(tiny, n=2, beam_width=2)
    for strategy in (best, beam):
        found = _generate(
            tiny,
            inputs,
            **BY_ROW[option],
            **cold,
            num_return_sequences=sequences,
            custom_generate=strategy,
        )
        for k, row in enumerate(found.tolist()):
            expected = plain[k // sequences].tolist()
            assert row[: len(expected)] == expected[: len(row)]


def test_the_callers_own_columns_are_those_of_plain_generation(tiny: Tiny) -> None:
    widths: list[set[int]] = []

    class Seen(LogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            widths[-1].add(input_ids.shape[1])
            for row in input_ids[:, : inputs["input_ids"].shape[1]]:
                assert row.tolist() in inputs["input_ids"].tolist()
            return scores

    inputs = _inputs(tiny)
    for strategy in (None, _search(tiny, n=1)):
        widths.append(set())
        _generate(tiny, inputs, logits_processor=[Seen()], custom_generate=strategy)
    assert widths[0] == widths[1]


def test_prefix_functions_are_asked_by_the_index_of_the_prompt(tiny: Tiny) -> None:
    allowed = {0: [50, 51, 201], 1: [60, 61, 201]}
    inputs = _inputs(tiny)
    how: dict[str, Any] = {"prefix_allowed_tokens_fn": lambda row, ids: allowed[row]}
    beam = _search(tiny, n=2, beam_width=2)
    out = _generate(tiny, inputs, **how, do_sample=True, custom_generate=beam)
    for row, tokens in enumerate(out[:, inputs["input_ids"].shape[1] :].tolist()):
        assert set(tokens) <= {*allowed[row], 0}


def test_a_prefix_function_that_allows_every_token_changes_nothing(tiny: Tiny) -> None:
    """Steps of different lengths ended the call: 'AllowedTokens' object is not callable."""
    inputs, every = _inputs(tiny), [*range(len(tiny.tokenizer))]
    asked = set[int]()

    def allowed(row: int, ids: Tensor) -> list[int]:
        asked.add(len(ids))
        return every

    found: list[Tensor] = []
    for options in ({}, {"prefix_allowed_tokens_fn": allowed}):
        torch.manual_seed(0)
        beam = _search(tiny, n=3, beam_width=2)
        found.append(_generate(tiny, inputs, **options, do_sample=True, custom_generate=beam))
    assert torch.equal(*found) and len(asked) > 2


@pytest.mark.numeric
@pytest.mark.parametrize("negative", [False, True])
def test_guidance_follows_its_branch(tiny: Tiny, negative: bool) -> None:
    """A branch was guided by the history of another one, off by up to 13 nats."""
    model: Any = random_model("llama", len(tiny.tokenizer))
    inputs, seen = _inputs(tiny, PROMPTS[:1]), dict[tuple[int, ...], Tensor]()
    options: dict[str, Any] = {"guidance_scale": 1.7}
    if negative:
        options["negative_prompt_ids"] = _inputs(tiny, ["1 + 1 =\n"])["input_ids"]

    def record(ids: Tensor, scores: Tensor) -> Tensor:
        if bool(scores.any()):
            seen[tuple(ids[0].tolist())] = scores[0].clone()
        return scores

    torch.manual_seed(2)
    _generate(
        tiny,
        inputs,
        **options,
        do_sample=True,
        top_k=0,
        processors=lambda: [record],
        custom_generate=_search(tiny, n=3, beam_width=2),
    )
    assert len(seen) > 12
    for row in sorted(seen)[::5]:
        kept: list[Tensor] = []

        def force(ids: Tensor, scores: Tensor, row: Any = row, kept: Any = kept) -> Tensor:
            kept.append(scores[0].clone())
            written = row[ids.shape[1]] if ids.shape[1] < len(row) else 2
            return torch.full_like(scores, -torch.inf).index_fill_(1, torch.tensor(written), 0.0)

        _generate(tiny, inputs, **options, logits_processor=[force], eos_token_id=None)
        assert_close(
            seen[row], kept[len(row) - inputs["input_ids"].shape[1]], terms=64 * roundings(model)
        )


class Budget(LogitsProcessor):
    """A thinking budget as people write it: no end before ten calls, the end after them."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.calls += 1
        only = torch.full_like(scores, -torch.inf)
        only[:, 2] = 0.0
        scores = scores.clone()
        scores[:, 2] = -torch.inf
        return scores if self.calls <= 10 else only


def _strategies(tiny: Tiny) -> list[Strategy]:
    words = tiny.tokenizer
    return [
        BestOfN(TableScorer(len), tokenizer=words, n=3),
        SelfConsistency(tokenizer=words, n=8, early_stop="decided"),
        _search(tiny, n=3, beam_width=2),
        _search(tiny, n=2, lookahead=1),
    ]


def test_a_factory_makes_processors_for_each_row(tiny: Tiny) -> None:
    for strategy in _strategies(tiny):
        torch.manual_seed(0)
        out = _generate(
            tiny,
            _inputs(tiny),
            do_sample=True,
            processors=lambda: [Budget()],
            return_dict_in_generate=True,
            custom_generate=strategy,
        )
        lengths = {c.tokens for trace in out.traces for c in trace.candidates}
        assert lengths == {11}, type(strategy).__name__


def test_a_shared_processor_with_a_state_is_refused_by_name(tiny: Tiny) -> None:
    """Candidates of 8 to 19 tokens came of a budget of 20, without a word."""
    with pytest.raises(ValueError, match=r"Budget, whose 'calls' changes .* processors=lambda"):
        _generate(
            tiny,
            _inputs(tiny),
            do_sample=True,
            logits_processor=[Budget()],
            custom_generate=_search(tiny, n=3, beam_width=2),
        )


def test_a_processor_that_only_sets_something_up_is_not_refused(tiny: Tiny) -> None:
    class Lazy(LogitsProcessor):
        mask: Tensor | None = None

        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            if self.mask is None:
                self.mask = torch.zeros(scores.shape[1])
            return scores + self.mask

    plain = _generate(tiny, _inputs(tiny))
    one = _search(tiny, n=1)
    found = _generate(tiny, _inputs(tiny), logits_processor=[Lazy()], custom_generate=one)
    assert torch.equal(plain, found)


def test_an_error_names_its_processor_or_criterion(tiny: Tiny) -> None:
    class Grammar(LogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            raise AssertionError

    def stop(input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        raise KeyError("state")

    best = _strategies(tiny)[0]
    how: dict[str, Any] = {"do_sample": True, "custom_generate": best}
    with pytest.raises(ValueError, match=r"Grammar for 6 rows .* \(AssertionError\)"):
        _generate(tiny, _inputs(tiny), logits_processor=[Grammar()], **how)
    with pytest.raises(ValueError, match="stopping criterion .*KeyError: 'state'"):
        _generate(tiny, _inputs(tiny), stopping_criteria=[stop], **how)


def test_an_exception_of_the_callers_own_reaches_him(tiny: Tiny) -> None:
    class Cancelled(Exception):
        pass

    def cancel(input_ids: Tensor, scores: Tensor) -> Tensor:
        raise Cancelled

    how: dict[str, Any] = {"do_sample": True, "custom_generate": _strategies(tiny)[0]}
    with pytest.raises(Cancelled):
        _generate(tiny, _inputs(tiny), logits_processor=[cancel], **how)


@pytest.mark.parametrize("factory", [[Budget()], lambda: Budget(), lambda: ["Budget"]])
def test_rejects_a_factory_that_makes_no_list_of_processors(tiny: Tiny, factory: Any) -> None:
    with pytest.raises(ValueError, match="returns a list of new logits processors"):
        _generate(tiny, _inputs(tiny), processors=factory, custom_generate=_search(tiny, n=1))


@pytest.mark.parametrize("kind", ["minimax", "recurrent_gemma"])
def test_guidance_of_a_state_that_cannot_be_copied_is_refused(tiny: Tiny, kind: str) -> None:
    model: Any = random_model(kind, len(tiny.tokenizer))
    how: dict[str, Any] = {"max_new_tokens": 3, "pad_token_id": 0, "guidance_scale": 1.5}
    with pytest.raises(ValueError, match="guidance_scale .* cannot be copied"):
        model.generate(**_inputs(tiny), **how, custom_generate=_search(tiny, n=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = BestOfN(TableScorer(len), tokenizer=tiny.tokenizer, n=1)
        model.generate(**_inputs(tiny), **how, custom_generate=one)
