"""Every strategy on every architecture: n=1 is plain generation, batched and one by one.

The default run takes a few architectures, one of each kind of state, with all options at once. The
whole matrix, each option by itself (1,115 cells, 12 minutes), is behind the marker ``slow``:
``pytest tests/strategies/test_models.py -m slow``.
"""

import warnings
from functools import lru_cache
from typing import Any

import pytest
import torch
from torch import Tensor

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
from tests.architectures import ARCHITECTURES, REREAD, TOKEN_TYPES, random_model
from tests.fakes import TableScorer
from tests.tolerance import assert_close, roundings

FEW = (
    "gpt2",
    "gemma3_text",
    "gemma4_text",
    "qwen2_5_vl",
    "qwen3_5_text",
    "mamba",
    "zamba2",
    "minimax",
)
STRATEGIES = ("best-of-1", "best-of-4", "self-consistency", "step-search", "rationale-guided")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "left-padded": {},
    "repetition_penalty": {"repetition_penalty": 1.3},
    "min_new_tokens": {"min_new_tokens": 9},
    "token types": {},
    "all": {"repetition_penalty": 1.3, "min_new_tokens": 9},
}
PADDED, EQUAL = ["2 + 2 =\n", "Make 24 from 4 5 6.\n"], ["2 + 3 =\n", "4 + 5 =\n"]
NEW_TOKENS = 12


def _strategy(name: str, tiny: Tiny) -> Strategy:
    words, scorer = tiny.tokenizer, TableScorer(len)
    if name.startswith("best-of-"):
        return BestOfN(scorer, tokenizer=words, n=int(name[-1]))
    if name == "self-consistency":
        return SelfConsistency(tokenizer=words, n=3)
    if name == "step-search":
        return StepSearch(scorer, tokenizer=words, n=2, beam_width=2)
    model: Any = random_model("llama", len(words))
    writer = RationaleWriter(model, words, chat=False, max_new_tokens=2)
    return RationaleGuided(RationaleScorer(writer, chat=False), tokenizer=words, n=2)


def _generate(
    kind: str, tiny: Tiny, prompts: list[str], option: str, **how: Any
) -> list[list[int]]:
    """New ids of each prompt; ends of lines and of the text are made likely."""
    inputs = tiny.tokenizer(prompts, return_tensors="pt", padding=True)
    if option == "token types" or (option == "all" and kind in TOKEN_TYPES):
        inputs["token_type_ids"] = inputs["attention_mask"] * 3
    newline = tiny.tokenizer.convert_tokens_to_ids("Ċ")
    model: Any = random_model(kind, len(tiny.tokenizer))
    options = {"sequence_bias": [[[newline], 6.0], [[2], 4.0]], **OPTIONS[option], **how}
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Strategy|.*whose state cannot be copied")
        out = model.generate(**inputs, max_new_tokens=NEW_TOKENS, pad_token_id=0, **options)
    new = out[:, inputs["input_ids"].shape[1] :].tolist()
    return [row[: row.index(0)] if 0 in row else row for row in new]


@lru_cache(maxsize=64)
def _plain(kind: str, tiny: Tiny, prompts: tuple[str, ...], option: str) -> list[list[int]]:
    return _generate(kind, tiny, list(prompts), option, do_sample=False)


def _check_cell(kind: str, tiny: Tiny, option: str, name: str) -> None:
    """Plain greedy tokens by one candidate, and by several at almost zero temperature."""
    strategy = _strategy(name, tiny)
    how: dict[str, Any] = {"do_sample": False}
    if name != "best-of-1":
        how = {"do_sample": True, "temperature": 1e-4, "top_k": 0}
    prompts = EQUAL if option == "plain" else PADDED
    for batch in (prompts, *([x] for x in prompts)):
        plain = _plain(kind, tiny, tuple(batch), option)
        found = _generate(kind, tiny, batch, option, custom_generate=strategy, **how)
        # A search ends a trajectory that has ended; plain generate may write on behind one.
        assert found == plain, (batch, found, plain)


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("kind", FEW)
def test_a_strategy_returns_the_tokens_of_plain_generation(
    tiny: Tiny, kind: str, name: str
) -> None:
    _check_cell(kind, tiny, "all", name)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("option", [option for option in OPTIONS if option != "all"])
@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_matrix_of_architectures_strategies_and_options(
    tiny: Tiny, kind: str, option: str, name: str
) -> None:
    if option == "token types" and kind not in TOKEN_TYPES:
        pytest.skip(f"{kind} has no token types")
    _check_cell(kind, tiny, option, name)


@pytest.mark.parametrize("name", ["step-search", "rationale-guided"])
@pytest.mark.parametrize("kind", ["gemma3_text", "gpt2", "qwen2_5_vl", "qwen3_5_text", "minimax"])
def test_one_candidate_a_step_is_plain_generation(tiny: Tiny, kind: str, name: str) -> None:
    one = _strategy(name, tiny)
    fields = {"n": 1, "beam_width": 1} if name == "step-search" else {"n": 1}
    for field, value in fields.items():
        object.__setattr__(one, field, value)
    found = _generate(kind, tiny, PADDED, "all", custom_generate=one, do_sample=False)
    assert found == _plain(kind, tiny, tuple(PADDED), "all")


@pytest.mark.numeric
@pytest.mark.parametrize(
    "kind",
    [*FEW, *(pytest.param(x, marks=pytest.mark.slow) for x in ARCHITECTURES if x not in FEW)],
)
def test_branches_see_the_logits_of_plain_generation(tiny: Tiny, kind: str) -> None:
    """At temperature 1 trajectories differ: a row with another one's state would be noticed."""
    model: Any = random_model(kind, len(tiny.tokenizer))
    inputs = tiny.tokenizer(["2 + 2 =\n"], return_tensors="pt")
    seen: dict[tuple[int, ...], Tensor] = {}

    def record(ids: Tensor, logits: Tensor) -> Tensor:
        if bool(logits.any()):  # earlier tokens of a row are shown again with zeros
            seen[tuple(ids[0].tolist())] = logits[0].clone()
        return logits

    newline = tiny.tokenizer.convert_tokens_to_ids("Ċ")
    bias = torch.zeros(len(tiny.tokenizer))
    bias[newline] = 6.0
    # A random model may draw the end of the sequence at once.
    for seed in range(1, 9):
        torch.manual_seed(seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*whose state cannot be copied")
            model.generate(
                **inputs,
                max_new_tokens=NEW_TOKENS,
                do_sample=True,
                pad_token_id=0,
                top_k=0,
                processors=lambda: [record, lambda ids, logits: logits + bias],
                custom_generate=_strategy("step-search", tiny),
            )
        if len({row[-3:] for row in seen}) > 4:
            break
    assert len({row[-3:] for row in seen}) > 4
    for row in sorted(seen)[::7]:
        assert_close(seen[row], _plain_logits(model, inputs, row), terms=64 * roundings(model))


def _plain_logits(model: Any, inputs: Any, row: tuple[int, ...]) -> Tensor:
    """Logits of the token after ``row``, which plain ``generate`` is made to write."""
    kept: list[Tensor] = []

    def force(ids: Tensor, logits: Tensor) -> Tensor:
        kept.append(logits[0].clone())
        written = row[ids.shape[1]] if ids.shape[1] < len(row) else row[-1]
        return torch.full_like(logits, -torch.inf).index_fill_(1, torch.tensor(written), 0.0)

    count = len(row) + 1 - inputs["input_ids"].shape[1]
    model.generate(
        **inputs,
        max_new_tokens=count,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=None,
        logits_processor=[force],
    )
    return kept[-1]


@pytest.mark.parametrize("kind", REREAD)
def test_reading_again_is_said_and_counted(tiny: Tiny, kind: str) -> None:
    model: Any = random_model(kind, len(tiny.tokenizer))
    inputs = tiny.tokenizer(["2 + 2 =\n"], return_tensors="pt")
    how: dict[str, Any] = {"do_sample": True, "max_new_tokens": 3, "pad_token_id": 0}
    vote = SelfConsistency(tokenizer=tiny.tokenizer, n=4)
    with pytest.warns(UserWarning, match="cannot be copied: each prompt is read 4 times"):
        out = model.generate(**inputs, **how, custom_generate=vote, return_dict_in_generate=True)
    assert out.cost.prefill >= 4 * inputs["input_ids"].numel()
