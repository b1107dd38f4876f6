"""Runs a strategy on the packaged models, and reads the parts of its output."""

from typing import Any

import torch

from reason_decode import ReasoningOutput
from reason_decode.core.solutions import Candidate, Step, Trace
from reason_decode.strategies.base import Strategy
from reason_decode.tiny import Tiny


def generate(tiny: Tiny, strategy: Strategy, prompts: list[str], **options: Any) -> ReasoningOutput:
    """Sample with seed 0, at most 120 tokens a prompt; ``options`` go to ``generate``."""
    inputs = tiny.tokenizer(prompts, return_tensors="pt", padding=True)
    arguments = {"max_new_tokens": 120, "do_sample": True, **options}
    torch.manual_seed(0)
    out = tiny.model.generate(
        **inputs, custom_generate=strategy, return_dict_in_generate=True, **arguments
    )
    assert isinstance(out, ReasoningOutput)
    return out


def traces(out: ReasoningOutput) -> tuple[Trace, ...]:
    """The traces, which must be there."""
    assert out.traces is not None
    return out.traces


def total(scored: Candidate | Step) -> float:
    """The total of a candidate or step, which must be there."""
    assert scored.total is not None
    return scored.total
