"""A server of chats alone: whole answers, best-of-n and votes, and no step search."""

import copy
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from reason_decode import BestOfN, SelfConsistency, StepSearch
from reason_decode.io.completions import ChatEndpoint
from reason_decode.serving import ServedModel
from reason_decode.tiny import Tiny
from tests.completion_server import Served, completions
from tests.fakes import TableScorer
from tests.gateway_server import TEMPLATE

TEN = TableScorer(lambda step: 1.0 if "10" in step else 0.5)
CHATS = [[{"role": "user", "content": f"Make 24 from {numbers}."}] for numbers in ("4 5", "6 10")]
ANSWERS = ("4 + 5 = 9\nAnswer: 9", "5 + 4 = 10, and that is a longer one\nAnswer: 10", "Answer: 9")


@pytest.fixture
def chats(tiny: Tiny) -> Iterator[tuple[Served, Any]]:
    """A server that answers the first, second and third request of a question in turn."""
    tokenizer: Any = copy.deepcopy(tiny.tokenizer)
    tokenizer.chat_template = TEMPLATE
    asked: dict[str, int] = {}
    lock = threading.Lock()

    def go_on(body: dict[str, Any], ids: list[int], index: int) -> list[int]:
        with lock:
            question = body["messages"][0]["content"]
            asked[question] = asked.get(question, -1) + 1
        text = ANSWERS[asked[question] % len(ANSWERS)]
        return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]

    with completions(go_on, tokenizer, "somebody") as made:
        yield made, tokenizer


def test_best_of_n_and_votes_choose_among_whole_answers(chats: tuple[Served, Any]):
    made, tokenizer = chats
    model: Any = ServedModel(made.url, "m", tokenizer, server="chat", concurrency=1)
    best, other = BestOfN(TEN, tokenizer=tokenizer, n=3).chat(model, CHATS)
    assert (best.text, other.text) == (ANSWERS[1], ANSWERS[1])
    # Each request holds the conversation and no rendered prompt.
    assert all("prompt" not in body and "n" not in body for body in made.bodies)
    assert [body["messages"] for body in made.bodies[:3]] == [CHATS[0]] * 3
    vote = SelfConsistency(tokenizer=tokenizer, n=3).chat(model, CHATS[0])
    assert vote.answer == "9" and vote.confidence == pytest.approx(2 / 3)


def test_what_needs_an_answer_to_go_on_is_refused_before_a_request(chats: tuple[Served, Any]):
    made, tokenizer = chats
    model: Any = ServedModel(made.url, "m", tokenizer, server="chat")
    with pytest.raises(ValueError, match="StepSearch continues answers step by step"):
        StepSearch(TEN, tokenizer=tokenizer, n=2).chat(model, CHATS[0])
    with pytest.raises(ValueError, match="BestOfN got no conversations for a server of chats"):
        BestOfN(TEN, tokenizer=tokenizer, n=2).complete(model, "Make 24 from 4 5.")
    assert not made.bodies


def test_a_thought_that_a_server_keeps_apart_stands_before_the_answer():
    endpoint = ChatEndpoint("http://localhost/v1", "m")
    message = {"content": "It is 9.", "reasoning_content": "4 + 5 = 9"}
    answer = {"choices": [{"message": message, "finish_reason": "stop"}]}
    (choice,) = endpoint._parse_answer(answer).choices
    assert choice.text == "<think>4 + 5 = 9</think>It is 9."
