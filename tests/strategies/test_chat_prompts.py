"""The prompts that a scorer gets if the generator's prompt was a chat.

Regression: the scorer's "question" was the rendered chat without its special tokens,
``system You are... user What is 2 + 3? assistant``, and reward models put that into their own user
turn. The packaged verifier picked right for 7 of 12 games by the plain prompt, for 0 of 12 so.
"""

from typing import Any

import pytest
import torch
from chat_templates import CHATML, DEFAULT_SYSTEM, SYSTEM_BY_BLANK_LINE, chat, tokenizer
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from reason_decode import BestOfN, Scorer, SelfConsistency, StepSearch
from reason_decode.scorers import to_steps


class Listener(Scorer):
    """Remembers what it is asked about."""

    score_space = "probability"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score(self, prompts: Any, solutions: Any) -> list[Tensor]:
        self.asked += prompts
        return [torch.full((len(steps),), 0.5) for steps in to_steps(solutions, self.splitter)]


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=256, **sizes, **heads)).eval()


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
