"""The prompts that a scorer gets if the generator's prompt was a chat.

Regression: the scorer's "question" was the rendered chat without its special tokens,
``system You are... user What is 2 + 3? assistant``, and reward models put that into their own user
turn. The packaged verifier picked right for 7 of 12 games by the plain prompt, for 0 of 12 so.
"""

import json
from typing import Any

import pytest
import torch
from chat_templates import CHATML, DEFAULT_SYSTEM, SYSTEM_BY_BLANK_LINE, chat, tokenizer
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from reason_decode import BestOfN, LikelihoodScorer, Scorer, SelfConsistency, StepSearch, Trace
from reason_decode.scorers import to_steps
from tests.tolerance import assert_close, roundings


class Listener(Scorer):
    """Remembers what it is asked about."""

    score_space = "probability"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score(self, prompts: Any, solutions: Any) -> list[Tensor]:
        self.asked += prompts
        return [torch.full((len(steps),), 0.5) for steps in to_steps(solutions, self.splitter)]


def random_model(vocabulary: int) -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **sizes, **heads)).eval()


@pytest.fixture(scope="module")
def model() -> Any:
    return random_model(256)


@pytest.fixture(scope="module")
def scoring_model() -> Any:
    """Has the tokenizer's added tokens, too."""
    return random_model(300)


def ask(model: Any, words: Any, conversation: Any, strategy: Any, **kwargs: Any) -> Any:
    words.pad_token = words.decode([0])
    words.padding_side = "left"
    inputs = words.apply_chat_template(
        conversation,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        padding=True,
    )
    settings = {"do_sample": True, "max_new_tokens": 4, "pad_token_id": 0}
    return model.generate(
        **inputs, **settings, custom_generate=strategy, return_dict_in_generate=True, **kwargs
    )


@pytest.mark.parametrize("kind", ["best-of-n", "votes", "step-search"])
@pytest.mark.parametrize("template", [CHATML, DEFAULT_SYSTEM])
def test_every_strategy_asks_about_the_users_question(model: Any, kind: str, template: str) -> None:
    words, listener = tokenizer(template), Listener()
    strategy: Any = {
        "best-of-n": lambda: BestOfN(listener, tokenizer=words, n=2),
        "votes": lambda: SelfConsistency(tokenizer=words, n=2, scorer=listener),
        "step-search": lambda: StepSearch(listener, tokenizer=words, n=2, max_steps=1),
    }[kind]()
    out = ask(model, words, chat("What is 2 + 2?", "Four.", "And 3 + 3?"), strategy)
    assert set(listener.asked) == {"And 3 + 3?"}
    assert out.traces[0].prompt == "And 3 + 3?"
    assert [turn["content"] for turn in out.traces[0].messages][-3:] == [
        *("What is 2 + 2?", "Four.", "And 3 + 3?")
    ]
    assert Trace.from_dict(json.loads(json.dumps(out.traces[0].to_dict()))) == out.traces[0]


def test_a_padded_batch_of_chats(model: Any) -> None:
    words, listener = tokenizer(CHATML), Listener()
    chats = [chat("Short?"), chat("A longer question, is it not?", system="Be kind.")]
    ask(model, words, chats, BestOfN(listener, tokenizer=words, n=2))
    assert set(listener.asked) == {"Short?", "A longer question, is it not?"}


def test_what_cannot_be_told_is_warned_of_and_messages_win(model: Any) -> None:
    words, listener = tokenizer(SYSTEM_BY_BLANK_LINE), Listener()
    messages = chat("Is it?", system="Be kind.")
    best = BestOfN(listener, tokenizer=words, n=2)
    with pytest.warns(UserWarning, match="Pass messages="):
        ask(model, words, messages, best)
    listener.asked.clear()
    ask(model, words, messages, best, messages=messages)
    assert set(listener.asked) == {"Is it?"}
    listener.asked.clear()
    ask(model, words, messages, best, questions=["Another question?"])
    assert set(listener.asked) == {"Another question?"}
    with pytest.raises(ValueError, match="got 2 questions for 1 prompts"):
        ask(model, words, messages, best, questions=["a", "b"])


@pytest.mark.numeric
def test_the_likelihood_of_an_answer_depends_on_the_whole_conversation(scoring_model: Any) -> None:
    """Only the last user turn was read: earlier turns and the system turn changed no score."""
    words = tokenizer(CHATML)
    scorer = LikelihoodScorer(scoring_model, words)
    long = chat("What is 2 + 2?", "Four.", "And 3 + 3?")
    whole, last = scorer.score([long, long[-1:]], ["Six."] * 2)
    assert not torch.equal(whole, last)
    (session,) = scorer.start_session([long]).score([[["Six."]]])
    assert_close(session[0], whole, terms=roundings(scoring_model))
    text = words.apply_chat_template(long, tokenize=False, add_generation_prompt=True)
    (plain,) = LikelihoodScorer(scoring_model, words, chat=False).score([text], ["Six."])
    assert_close(plain, whole, terms=roundings(scoring_model))


def test_conversations_with_the_same_question_are_scored_apart(scoring_model: Any) -> None:
    words = tokenizer(CHATML)
    scorer = LikelihoodScorer(scoring_model, words)
    chats = [chat("Why?", system="Be kind."), chat("Why?", system="Be rude.")]
    together = scorer.score(chats, ["So."] * 2)
    alone = [scorer.score([one], ["So."])[0] for one in chats]
    assert not torch.equal(*together)
    for one, other in zip(together, alone, strict=True):
        assert_close(one, other, terms=roundings(scoring_model))
