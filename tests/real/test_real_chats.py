"""Strategies on the chats of a real model: prompts, turns, caches, streams, pipelines."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TextIteratorStreamer, pipeline

from reason_decode import BestOfN, Scorer, SelfConsistency, StepSearch
from reason_decode.scorers import to_steps
from reason_decode.scorers.base import StepSplitter
from tests.real.conftest import RealModel

pytestmark = pytest.mark.real

QUESTION = "What is 12 + 30?\nGive the number."
ONE = [{"role": "user", "content": QUESTION}]
SYSTEM = [{"role": "system", "content": "You add numbers."}, *ONE]
TURNS = [
    {"role": "user", "content": "What is 1 + 1?"},
    {"role": "assistant", "content": "2"},
    *ONE,
]


class Listener(Scorer):
    """Prefers short steps, and remembers what it is asked about."""

    score_space = "log_probability"

    def __init__(self, separator: str = "\n") -> None:
        self.splitter = StepSplitter(separator)
        self.asked: list[str] = []
        self.read: list[list[str]] = []

    def score(self, prompts: Any, solutions: Any) -> list[Tensor]:
        steps = to_steps(solutions, self.splitter)
        self.asked += prompts
        self.read += steps
        return [torch.tensor([-float(len(step)) for step in x]) for x in steps]


@pytest.mark.parametrize("kind", ["best-of-n", "votes", "step-search"])
def test_scorers_are_asked_about_the_users_words(real: RealModel, kind: str) -> None:
    listener = Listener()
    strategy: Any = {
        "best-of-n": lambda: BestOfN(listener, tokenizer=real.tokenizer, n=2),
        "votes": lambda: SelfConsistency(tokenizer=real.tokenizer, n=2, scorer=listener),
        "step-search": lambda: StepSearch(listener, tokenizer=real.tokenizer, n=2, max_steps=2),
    }[kind]()
    out = real.model.generate(
        **real.inputs(ONE, SYSTEM, TURNS),
        do_sample=True,
        max_new_tokens=8,
        custom_generate=strategy,
        return_dict_in_generate=True,
    )
    assert set(listener.asked) == {QUESTION}
    # The template adds a system turn of its own where a chat has none.
    shown = [[turn["role"] for turn in trace.messages] for trace in out.traces]
    assert [roles[-1] for roles in shown] == ["user"] * 3
    assert list(out.traces[1].messages) == SYSTEM
    assert list(out.traces[2].messages[-3:]) == TURNS


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("kind", ["best-of-n", "votes", "step-search"])
def test_one_candidate_is_plain_generation(real: RealModel, kind: str, sampled: bool) -> None:
    if kind == "step-search" and sampled:
        pytest.skip("each round of a step search draws anew")
    strategy: Any = {
        "best-of-n": lambda: BestOfN(Listener(), tokenizer=real.tokenizer, n=1),
        "votes": lambda: SelfConsistency(tokenizer=real.tokenizer, n=1),
        "step-search": lambda: StepSearch(Listener("\n\n"), tokenizer=real.tokenizer, n=1),
    }[kind]()
    options = {**real.inputs(ONE, TURNS), "do_sample": sampled, "max_new_tokens": 24}
    options |= {"repetition_penalty": 1.1, "top_p": 0.9} if sampled else {}
    torch.manual_seed(3)
    plain = real.model.generate(**options)
    torch.manual_seed(3)
    assert torch.equal(plain, real.model.generate(**options, custom_generate=strategy))


def test_steps_end_at_blank_lines(real: RealModel) -> None:
    chat = [{"role": "user", "content": "Write three short paragraphs about the sea."}]
    listener = Listener("\n\n")
    search = StepSearch(listener, tokenizer=real.tokenizer, n=2, max_steps=2)
    out = real.model.generate(
        **real.inputs(chat),
        do_sample=True,
        temperature=0.7,
        max_new_tokens=96,
        custom_generate=search,
        return_dict_in_generate=True,
    )
    best = out.traces[0].best
    assert best.steps == tuple(listener.splitter.split(best.text))
    assert all("\n\n" not in step for steps in listener.read for step in steps)


def test_later_turns_go_on_from_a_kept_cache(real: RealModel) -> None:
    best = BestOfN(Listener(), tokenizer=real.tokenizer, n=1)
    prefix = real.inputs(TURNS)
    with torch.no_grad():
        kept = real.model(prefix["input_ids"][:, :-4]).past_key_values
    options = {**prefix, "do_sample": False, "max_new_tokens": 12}
    fresh = real.model.generate(**options, custom_generate=best)
    assert torch.equal(
        fresh, real.model.generate(**options, past_key_values=kept, custom_generate=best)
    )


def test_pipelines_and_streams_give_the_chosen_answer(real: RealModel) -> None:
    answer = pipeline("text-generation", model=real.model, tokenizer=real.tokenizer)
    best = BestOfN(Listener(), tokenizer=real.tokenizer, n=2)
    (out,) = answer([ONE], max_new_tokens=8, do_sample=True, custom_generate=best)
    assert out[0]["generated_text"][-1]["role"] == "assistant"
    streamer: Any = TextIteratorStreamer(real.tokenizer, skip_prompt=True, skip_special_tokens=True)
    streamed = BestOfN(Listener(), tokenizer=real.tokenizer, n=2, streamer=streamer)
    out = real.model.generate(
        **real.inputs(ONE),
        do_sample=True,
        max_new_tokens=8,
        custom_generate=streamed,
        return_dict_in_generate=True,
    )
    assert "".join(streamer) == out.traces[0].best.text


def test_a_chat_is_answered_in_one_call(real: RealModel) -> None:
    vote = SelfConsistency(tokenizer=real.tokenizer, n=4)
    response = vote.chat(real.model, QUESTION, max_new_tokens=24)
    assert response.trace.prompt == QUESTION and response.text == response.trace.best.text
    assert response.confidence is None or 0 < response.confidence <= 1
