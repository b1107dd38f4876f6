"""Unusual outputs of a model: nothing, no end, blank lines, broken characters, special tokens.

Tested elsewhere: NaN scores of a reward model (test_process.py), markup and
control characters in a page or a terminal (test_cli_text.py), text that is no LaTeX
(test_latex.py).
"""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor

from reason_decode import BestOfN, ReasoningOutput, SelfConsistency, StepSearch
from reason_decode.tiny import Tiny

PROMPT = "Make 24 from 1 4 4 8.\n"
STRATEGIES = ["best", "vote", "search"]


class ForcedTokens(LogitsProcessor):
    """Makes every row generate these ids in order, and again from the first."""

    def __init__(self, start: int, ids: list[int]) -> None:
        self.start, self.ids = start, ids

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        token = self.ids[(input_ids.shape[1] - self.start) % len(self.ids)]
        return torch.full_like(scores, -torch.inf).index_fill_(1, torch.tensor([token]), 0.0)


def generate(tiny: Tiny, name: str, ids: list[Any], **options: Any) -> ReasoningOutput:
    words = tiny.tokenizer
    strategy = {
        "best": lambda: BestOfN(tiny.prm, tokenizer=words, n=2),
        "vote": lambda: SelfConsistency(tokenizer=words, n=2),
        "search": lambda: StepSearch(tiny.prm, tokenizer=words, n=2, beam_width=2),
    }[name]()
    inputs = words([PROMPT], return_tensors="pt")
    out = tiny.model.generate(
        **inputs,
        **{"max_new_tokens": 8, **options},
        do_sample=True,
        return_dict_in_generate=True,
        logits_processor=[ForcedTokens(inputs["input_ids"].shape[1], ids)],
        custom_generate=strategy,
    )
    assert isinstance(out, ReasoningOutput) and out.traces is not None
    return out


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_immediate_end_is_an_empty_finished_answer(tiny: Tiny, name: str):
    out = generate(tiny, name, [tiny.tokenizer.eos_token_id])
    best = out.traces[0].best  # pyright: ignore
    assert (best.text, best.steps, best.finished, best.answer) == ("", (), True, None)
    assert best.total in (None, 0.0) and out.sequences.shape[1] == 12


@pytest.mark.parametrize("name", STRATEGIES)
def test_text_without_end_is_cut_off_and_not_finished(tiny: Tiny, name: str):
    out = generate(tiny, name, tiny.tokenizer.encode("1", add_special_tokens=False))
    best = out.traces[0].best  # pyright: ignore
    assert (best.text, best.steps, best.finished) == ("1" * 8, ("1" * 8,), False)


@pytest.mark.parametrize("name", STRATEGIES)
def test_blank_lines_are_no_steps(tiny: Tiny, name: str):
    out = generate(tiny, name, tiny.tokenizer.encode("\n", add_special_tokens=False))
    best = out.traces[0].best  # pyright: ignore
    assert best.text == "\n" * 8 and best.steps == () and best.total in (None, 0.0)


@pytest.mark.parametrize("name", STRATEGIES)
def test_half_a_character_becomes_the_replacement_character(tiny: Tiny, name: str):
    # A byte-level tokenizer has a token for a byte that begins a character and one for a newline.
    (half,) = [tiny.tokenizer.convert_tokens_to_ids("Ã")]
    out = generate(tiny, name, [half, *tiny.tokenizer.encode("\n", add_special_tokens=False)])
    best = out.traces[0].best  # pyright: ignore
    assert best.text == "\ufffd\n" * 4 and best.steps == ("\ufffd",) * 4


@pytest.mark.parametrize("name", STRATEGIES)
def test_special_tokens_are_left_out_of_the_text(tiny: Tiny, name: str):
    one = tiny.tokenizer.encode("1", add_special_tokens=False)
    out = generate(tiny, name, [*one, tiny.tokenizer.bos_token_id, tiny.tokenizer.pad_token_id])
    assert out.traces[0].best.text == "111"  # pyright: ignore


def test_a_vote_without_answers_has_no_votes(tiny: Tiny):
    out = generate(tiny, "vote", tiny.tokenizer.encode("x", add_special_tokens=False))
    assert out.traces[0].votes == {} and out.traces[0].chosen == (0,)  # pyright: ignore
