"""Completions of a server, chosen among here: no generator and no tokenizer in this process."""

from typing import Any

import pytest

from reason_decode.core.errors import ItemError
from reason_decode.io.openai_client import CompletionEndpoint
from reason_decode.serving import EndpointCompleter
from reason_decode.strategies import BestOfNSelector, VoteSelector
from tests.chat_templates import CHATML, THINKS, chat, tokenizer
from tests.fakes import TableScorer
from tests.server import served

PROMPTS = ["((1 + 1) * (2 - 1)) =\n", "((2 + 1) * (2 - 2)) =\n"]


def say(body: dict[str, Any]) -> str:
    """3 with every second seed."""
    return f"So the answer is {2 + body['seed'] % 2}."


def well(prompt: str, count: int) -> None:
    """Nothing goes wrong."""


def test_one_completion_is_taken_as_it_is() -> None:
    with served(well, say) as (url, got):
        completions = EndpointCompleter(CompletionEndpoint(url, "m"))(PROMPTS, [0, 1])
    assert len(completions.texts) == len(got) == 2 and completions.traces is None
    assert completions.cost.prefill == 2 * 3 and completions.cost.sampled == 2 * 5


def test_a_selector_chooses_among_the_completions_of_each_prompt() -> None:
    with served(well, say) as (url, _):
        vote = EndpointCompleter(CompletionEndpoint(url, "m"), VoteSelector(), n=9)(PROMPTS, [0, 1])
        scorer = TableScorer(lambda step: 1.0 if "3" in step else 0.5)
        best = EndpointCompleter(CompletionEndpoint(url, "m"), BestOfNSelector(scorer), n=9)
        best_completions = best(PROMPTS, [0, 1])
    assert vote.traces is not None and best_completions.traces is not None
    for trace, text in zip(vote.traces, vote.texts, strict=True):
        assert len(trace.candidates) == 9 and trace.strategy == "SelfConsistency"
        assert text == trace.best.text
        assert trace.votes[trace.best.answer or ""] == max(trace.votes.values())
    assert best_completions.texts == ["So the answer is 3."] * 2


def test_what_is_sampled_does_not_depend_on_the_batch() -> None:
    with served(well, say) as (url, got):
        solve = EndpointCompleter(CompletionEndpoint(url, "m"), VoteSelector(), n=3, seed=7)
        solve(PROMPTS, [0, 1])
        together = {(x["prompt"], x["seed"]) for x in got}
        got.clear()
        for number, prompt in enumerate(PROMPTS):
            solve([prompt], [number])
        assert {(x["prompt"], x["seed"]) for x in got} == together
    assert len(together) == 6


def test_a_prompt_that_the_server_refuses_is_an_error_of_the_item() -> None:
    with served(lambda *_: (400, {}, ""), say) as (url, _):
        solve = EndpointCompleter(CompletionEndpoint(url, "m"))
        with pytest.raises(ItemError, match="HTTP 400"):
            solve(PROMPTS[:1], [0])


def test_several_completions_need_a_selector() -> None:
    with pytest.raises(ValueError, match="got n=4 without a selector"):
        EndpointCompleter(CompletionEndpoint("http://127.0.0.1:1/v1", "m"), n=4)


def test_a_conversation_is_rendered_for_the_server_by_its_models_template() -> None:
    tokens = tokenizer(CHATML)
    scorer = TableScorer(lambda step: 1.0)
    with served(well, say) as (url, got):
        server = CompletionEndpoint(url, "m")
        completer = EndpointCompleter(server, BestOfNSelector(scorer), n=2, tokenizer=tokens)
        completer([chat("1 + 2?", system="Add.")], [0], ["1 + 2?"])
        text = "<|im_start|>system\nAdd.<|im_end|>\n<|im_start|>user\n1 + 2?<|im_end|>\n"
        assert completer.chat and {x["prompt"] for x in got} == {text + "<|im_start|>assistant\n"}
        assert {prompt for prompt, _ in scorer.asked} == {"1 + 2?"}
        plain = EndpointCompleter(server)
        with pytest.raises(ItemError, match="--tokenizer"):
            plain([chat("1 + 2?")], [0])
    assert not plain.chat


def test_a_thought_that_the_template_opened_is_no_vote() -> None:
    """A server's completion of an R1-like prompt begins inside the thought, without its tag."""
    with served(well, lambda _: "Is the answer 7? The answer is 7") as (url, _):
        vote = VoteSelector()
        tokens = tokenizer(THINKS)
        completer = EndpointCompleter(CompletionEndpoint(url, "m"), vote, n=2, tokenizer=tokens)
        made = completer([chat("1 + 2?")], [0])
    assert made.traces is not None and made.traces[0].votes == {}
    assert made.answer(0) == "" and made.texts[0].startswith("Is the answer 7?")
