"""Answers of servers in their forms; the recorded one is of llama.cpp's server (2026.10)."""

from typing import Any

from reason_decode.io.completions import CompletionEndpoint, _event


def choice(index: int, *tokens: tuple[int, float]) -> dict[str, Any]:
    """A choice of llama.cpp, which tells token ids beside log-probabilities alone."""
    content = [
        {"id": token, "token": "x", "logprob": logp, "top_logprobs": [{"id": 7, "logprob": -0.5}]}
        for token, logp in tokens
    ]
    text = "x" * len(tokens)
    return {
        "index": index,
        "text": text,
        "finish_reason": "length",
        "logprobs": {"content": content},
    }


def test_ids_and_log_probabilities_of_llama_cpp_are_read():
    endpoint = CompletionEndpoint("http://localhost/v1", "m")
    usage: dict[str, Any] = {
        "prompt_tokens": 4,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    answer = {"choices": [choice(1, (9, -2.0)), choice(0, (4, -1.0), (5, -1.5))], "usage": usage}
    found = endpoint._parse_answer(answer)
    first, second = found.choices
    assert (first.token_ids, first.logps, first.top_logps) == ((4, 5), (-1.0, -1.5), ((-0.5,),) * 2)
    assert second.token_ids == (9,)
    # It counts the tokens of one of the choices.
    assert (found.prompt_tokens, found.completion_tokens, found.cached_tokens) == (4, 3, 3)


def test_a_choice_without_tokens_has_none():
    endpoint = CompletionEndpoint("http://localhost/v1", "m")
    empty = {"index": 0, "text": "", "finish_reason": "stop", "logprobs": {"content": None}}
    (found,) = endpoint._parse_answer({"choices": [empty]}).choices
    assert (found.token_ids, found.logps) == ((), ())


def test_an_event_of_a_stream_has_ids_in_either_form():
    assert _event({"choices": [choice(0, (4, -1.0))]})[3] == [4]
    assert _event({"choices": [{"text": "x", "token_ids": [5], "finish_reason": None}]})[3] == [5]
