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


class RecordingStreamer(BaseStreamer):
    """Records the tokens that it receives."""

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
    recorded = RecordingStreamer()
    strategy = StepSearch(
        tiny.prm, tokenizer=tiny.tokenizer, n=3, beam_width=beam_width, streamer=recorded
    )
    (out,) = _generate(tiny, strategy, [PROMPT]).tolist()
    assert sum(recorded.pieces, []) == out
    assert recorded.ended == 1
    if beam_width == 1:
        steps = [str(tiny.tokenizer.decode(piece)) for piece in recorded.pieces[1:-1]]
        assert len(steps) > 2
        assert all(step.endswith("\n") for step in steps)


def test_a_vote_streams_its_winner_at_the_end(tiny: Tiny) -> None:
    recorded = RecordingStreamer()
    (out,) = _generate(
        tiny, SelfConsistency(tokenizer=tiny.tokenizer, n=3, streamer=recorded), [PROMPT]
    ).tolist()
    assert sum(recorded.pieces, []) == out
    assert len(recorded.pieces) == 2


def test_the_streamer_of_transformers_prints_the_answer(tiny: Tiny, capsys: Any) -> None:
    streamer = TextStreamer(tiny.tokenizer, skip_prompt=True, skip_special_tokens=True)
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=2, streamer=streamer)
    (out,) = _generate(tiny, strategy, [PROMPT])
    text = str(tiny.tokenizer.decode(out, skip_special_tokens=True))
    assert capsys.readouterr().out.strip() == text.removeprefix(PROMPT).strip()


def test_the_streamer_is_ended_even_when_scoring_fails(tiny: Tiny) -> None:
    class Broken(Scorer):
        score_space: ScoreSpace = "probability"

        def score(self, prompts: Any, solutions: Any) -> Any:
            raise AssertionError

        def start_session(self, prompts: Sequence[str]) -> Session:
            raise RuntimeError("no scores today")

    recorded = RecordingStreamer()
    with pytest.raises(RuntimeError, match="no scores today"):
        _generate(
            tiny, BestOfN(Broken(), tokenizer=tiny.tokenizer, n=2, streamer=recorded), [PROMPT]
        )
    assert recorded.ended == 1


def test_rejects_streaming_two_prompts(tiny: Tiny) -> None:
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=2, streamer=RecordingStreamer())
    with pytest.raises(ValueError, match="can stream one sequence; got 2"):
        _generate(tiny, strategy, [PROMPT] * 2)
