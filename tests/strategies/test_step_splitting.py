"""Step searches whose steps end otherwise than at one literal separator."""

from pathlib import Path
from typing import Any

import pytest
import torch
from run_strategy import generate, traces

from reason_decode import ProcessRewardModel, StepSearch
from reason_decode.core.splitting import as_splitter
from reason_decode.strategies.load import generate_from_settings
from reason_decode.tiny import WEIGHTS, Tiny

PROMPTS = ["Make 36 from 4 5 6 10.\n", "Make 20 from 1 1 4 5.\n"]
SAMPLING: dict[str, Any] = {"max_new_tokens": 30, "do_sample": True}


@pytest.mark.parametrize("splitter", [[") ", "\n"], {"pattern": r"\n|(?<==) "}, {"tokens": 6}])
@pytest.mark.parametrize("lookahead", [0, 1])
def test_a_search_pauses_where_its_splitter_ends_steps(
    tiny: Tiny, splitter: Any, lookahead: int
) -> None:
    """A search knew one literal separator, and never paused where a generator writes another."""
    prm = ProcessRewardModel.from_pretrained(WEIGHTS / "prm", splitter=splitter)
    search = StepSearch(prm, tokenizer=tiny.tokenizer, n=2, beam_width=2, lookahead=lookahead)
    for trace in traces(generate(tiny, search, PROMPTS, max_new_tokens=30)):
        assert len(trace.rounds) > 2
        for candidate in trace.candidates:
            assert len(candidate.scores) == len(candidate.steps)
            if splitter == {"tokens": 6}:
                assert "".join(candidate.steps) == candidate.text
            else:
                assert list(candidate.steps) == as_splitter(splitter).split(candidate.text)
        if splitter == {"tokens": 6}:
            assert {step.tokens for round_ in trace.rounds[:-1] for step in round_} == {6}


def test_a_saved_search_keeps_its_splitter(tiny: Tiny, tmp_path: Path) -> None:
    prm = ProcessRewardModel.from_pretrained(WEIGHTS / "prm", splitter={"tokens": 6})
    search = StepSearch(prm, tokenizer=tiny.tokenizer, n=2)
    search.save_pretrained(tmp_path)
    text = (tmp_path / "custom_generate" / "generate.py").read_text()
    scope: dict[str, Any] = {}
    exec(text, scope)
    inputs = tiny.tokenizer(PROMPTS[:1], return_tensors="pt")
    torch.manual_seed(0)
    saved = generate_from_settings(
        scope["SETTINGS"], tiny.model, tokenizer=tiny.tokenizer, **inputs, **SAMPLING
    )
    torch.manual_seed(0)
    assert torch.equal(saved, tiny.model.generate(**inputs, **SAMPLING, custom_generate=search))
