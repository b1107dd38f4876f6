"""Streamers: every token of the answer once, and steps before the search has ended."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import TextStreamer
from transformers.generation.streamers import BaseStreamer

from reason_decode import BestOfN, SelfConsistency, StepSearch
from reason_decode.scorers.base import Scorer, ScoreSpace, Session
from reason_decode.strategies.base import Strategy
from reason_decode.tiny import Tiny

PROMPT = "((1 + 2) * (3 - 4)) =\n"


class Heard(BaseStreamer):
    """Remembers what it was put."""

    def __init__(self) -> None:
        self.pieces: list[list[int]] = []
        self.ended = 0

    def put(self, value: torch.Tensor) -> None:
        self.pieces.append(value.flatten().tolist())

    def end(self) -> None:
        self.ended += 1


def _generate(tiny: Tiny, strategy: Strategy, prompts: list[str]) -> Any:
    inputs = tiny.tokenizer(prompts, return_tensors="pt", padding=True)
    torch.manual_seed(0)
    return tiny.model.generate(
        **inputs, do_sample=True, max_new_tokens=100, custom_generate=strategy
    )


@pytest.mark.parametrize("beam_width", [1, 3])
def test_a_search_streams_what_it_has_decided(tiny: Tiny, beam_width: int) -> None:
    heard = Heard()
    strategy = StepSearch(
        tiny.prm, tokenizer=tiny.tokenizer, n=3, beam_width=beam_width, streamer=heard
    )
    (out,) = _generate(tiny, strategy, [PROMPT]).tolist()
    assert sum(heard.pieces, []) == out
    assert heard.ended == 1
    if beam_width == 1:
        steps = [str(tiny.tokenizer.decode(piece)) for piece in heard.pieces[1:-1]]
        assert len(steps) > 2
        assert all(step.endswith("\n") for step in steps)


def test_a_vote_streams_its_winner_at_the_end(tiny: Tiny) -> None:
    heard = Heard()
    (out,) = _generate(
        tiny, SelfConsistency(tokenizer=tiny.tokenizer, n=3, streamer=heard), [PROMPT]
    ).tolist()
    assert sum(heard.pieces, []) == out
    assert len(heard.pieces) == 2


def test_the_streamer_of_transformers_prints_the_answer(tiny: Tiny, capsys: Any) -> None:
    streamer = TextStreamer(tiny.tokenizer, skip_prompt=True, skip_special_tokens=True)
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=2, streamer=streamer)
    (out,) = _generate(tiny, strategy, [PROMPT])
    text = str(tiny.tokenizer.decode(out, skip_special_tokens=True))
    assert capsys.readouterr().out.strip() == text.removeprefix(PROMPT).strip()


def test_who_listens_is_told_of_an_end_even_when_scoring_fails(tiny: Tiny) -> None:
    class Broken(Scorer):
        score_space: ScoreSpace = "probability"

        def score(self, prompts: Any, solutions: Any) -> Any:
            raise AssertionError

        def start_session(self, prompts: Sequence[str]) -> Session:
            raise RuntimeError("no scores today")

    heard = Heard()
    with pytest.raises(RuntimeError, match="no scores today"):
        _generate(tiny, BestOfN(Broken(), tokenizer=tiny.tokenizer, n=2, streamer=heard), [PROMPT])
    assert heard.ended == 1


def test_two_prompts_cannot_be_streamed(tiny: Tiny) -> None:
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=2, streamer=Heard())
    with pytest.raises(ValueError, match="can stream one sequence; got 2"):
        _generate(tiny, strategy, [PROMPT] * 2)
