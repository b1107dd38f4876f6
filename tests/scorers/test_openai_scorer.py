"""A chat model at a server that is asked whether steps are correct."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from reason_decode import StepSearch
from reason_decode.core.errors import ScoringError
from reason_decode.scorers import EndpointVerifier
from reason_decode.scorers.prm_formats.generative import QUESTION, Generative
from reason_decode.tiny import Tiny
from tests.server import served

PROMPTS = ["p\n", "q\n"]
SOLUTIONS = [["good", "bad"], ["good"]]


def answer_with(yes: float) -> dict[str, Any]:
    """An answer whose first token is yes or no, with these odds, or something else."""
    logprobs = {"Yes": 0.9 * yes, " no": 0.9 * (1 - yes), "Well": 0.1}
    top = [{"token": x, "logprob": math.log(p)} for x, p in logprobs.items() if p]
    return {"logprobs": {"content": [{**top[0], "top_logprobs": top}]}}


def odds(chat: str) -> dict[str, Any]:
    return answer_with(0.75 if "good" in chat else 0.25)


@pytest.fixture
def verifier() -> Iterator[tuple[EndpointVerifier, list[dict[str, Any]]]]:
    with served(lambda *_: None, choice=lambda body: odds(body["messages"][-1]["content"])) as (
        url,
        got,
    ):
        yield EndpointVerifier(url, "m", concurrency=2), got


def test_scores_are_the_odds_of_yes(verifier: Any):
    scorer, got = verifier
    first, second = scorer.score(PROMPTS, SOLUTIONS)
    torch.testing.assert_close(first, torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(second, torch.tensor([0.75]))
    chats = [[turn["content"] for turn in body["messages"]] for body in got]
    assert [f"p\n\n\ngood\n\n{QUESTION}", "Yes", f"bad\n\n{QUESTION}"] in chats and len(chats) == 3
    assert {body["max_tokens"] for body in got} == {1} and got[0]["logprobs"] is True


def test_the_chat_is_that_of_the_generative_format():
    assert Generative.question == QUESTION
    scorer = EndpointVerifier("http://localhost:1/v1", "m")
    turns = [turn["content"] for turn in scorer.chat("p", ["a", "b"]) if turn["role"] == "user"]
    assert turns == Generative.user_messages(Generative, "p", ["a", "b"])  # pyright: ignore[reportArgumentType]


def test_a_session_asks_of_each_new_step_once_and_scores_as_without_one(verifier: Any):
    scorer, got = verifier
    session = scorer.start_session(PROMPTS)
    session.score([[["good"], ["bad"], ["good"]], [["good"]]])
    assert len(got) == 3
    session.select([(0, 2), (0, 0)])
    (first,), (second,) = session.score([[["bad", "good"]], [[]]])
    assert len(got) == 5 and session.tokens_read == 3 * len(got) and not len(second)
    (alone,) = scorer.score(["p\n"], [["good", "bad", "good"]])
    torch.testing.assert_close(first, alone[1:])


def test_a_search_is_guided_by_it(verifier: Any, tiny: Tiny):
    scorer, got = verifier
    inputs = tiny.tokenizer(["Make 24 from 4 5 6 10.\n"], return_tensors="pt")
    torch.manual_seed(0)
    search = StepSearch(scorer, tokenizer=tiny.tokenizer, n=3, max_steps=2)
    out: Any = tiny.model.generate(
        **inputs,
        do_sample=True,
        max_new_tokens=60,
        custom_generate=search,
        return_dict_in_generate=True,
    )
    assert out.cost.scorer == 3 * len(got) > 0


def test_without_log_probabilities_the_first_word_decides():
    def behave(chat: str, count: int) -> Any:
        return (422, {}, "stop") if count == 1 else None

    def say(body: dict[str, Any]) -> dict[str, Any]:
        text = "Yes." if "good" in body["messages"][-1]["content"] else " no, it is not"
        return {"message": {"role": "assistant", "content": text}}

    with served(behave, choice=say) as (url, got):
        scorer = EndpointVerifier(url, "m")
        with pytest.warns(UserWarning, match="steps are scored 1 or 0, by the first word"):
            first, second = scorer.score(PROMPTS, SOLUTIONS)
        assert first.tolist() == [1.0, 0.0] and second.tolist() == [1.0]
        assert "top_logprobs" in got[0] and "top_logprobs" not in got[-1]


def test_rejects_answers_that_are_no_verdicts():
    with (
        served(lambda *_: None) as (url, _),
        pytest.raises(ScoringError, match="neither yes nor no"),
    ):
        EndpointVerifier(url, "m").score(["p"], [["a"]])
    scorer = EndpointVerifier("http://127.0.0.1:9/v1", "m", attempts=1)
    with pytest.raises(ConnectionError, match="give the same command again"):
        scorer.score(["p"], [["a"]])
    with pytest.raises(ValueError, match="must begin with http"):
        EndpointVerifier("localhost", "m")


@pytest.mark.parametrize("logp", [float("nan"), 1e6, "0"])
def test_what_is_no_log_probability_is_named_as_the_server_s_answer(logp: Any):
    """NaN of a server was blamed on the scorer's weights and dtype."""
    one = {"token": "Yes", "logprob": logp}
    with (
        served(lambda *_: None, choice=lambda _: {"logprobs": {"content": [one]}}) as (url, _),
        pytest.raises(ScoringError, match="the server answers 'yes' with the log-probability"),
    ):
        EndpointVerifier(url, "m").score(PROMPTS[:1], SOLUTIONS[1:])
