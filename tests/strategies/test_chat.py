"""``Strategy.chat`` and ``complete``: from a model and messages to a response."""

import copy
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from reason_decode import BestOfN, Response, SelfConsistency
from reason_decode.core.messages import check_messages
from reason_decode.models.chat_template import has_chat_template, render_chat
from reason_decode.models.inputs import encode_prompts
from reason_decode.tiny import Tiny
from tests.chat_templates import CHATML, NO_SYSTEM, chat, tokenizer
from tests.fakes import TableScorer

QUESTION = "What is 1 + 2?"


def small(tokens: Any) -> Any:
    """A random Llama of one layer for a tokenizer of bytes."""
    torch.manual_seed(0)
    ids: dict[str, Any] = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
    size: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=len(tokens), **size, **heads, **ids)).eval()


def test_a_conversation_is_rendered_by_the_template_and_its_question_is_scored():
    tokens = tokenizer(CHATML)
    scorer = TableScorer(lambda step: 0.5)
    best = BestOfN(scorer, tokenizer=tokens, n=2)
    response = best.chat(small(tokens), chat(QUESTION, system="Be terse."), max_new_tokens=4)
    assert isinstance(response, Response) and response.total is not None
    assert response.text == response.trace.best.text and response.confidence is None
    assert {prompt for prompt, _ in scorer.asked} == {QUESTION}


def test_the_prompt_is_what_the_template_renders():
    tokens = tokenizer(CHATML)
    opened = chat(QUESTION, "It is")
    text = tokens.apply_chat_template(chat(QUESTION), tokenize=False, add_generation_prompt=True)
    assert render_chat(tokens, chat(QUESTION)) == text
    assert render_chat(tokens, opened) == text + "It is"
    rows = encode_prompts(tokens, [chat(QUESTION), "plain"])
    assert tokens.decode(rows["input_ids"][0]) == text
    assert rows["attention_mask"].sum(dim=1).tolist() == [len(text), len("plain")]
    assert rows["attention_mask"][1, -5:].tolist() == [1] * 5


def test_a_list_of_conversations_is_a_batch_like_one_by_one():
    tokens = tokenizer(CHATML)
    model = small(tokens)
    vote = SelfConsistency(tokenizer=tokens, n=1)
    greedy: dict[str, Any] = {"do_sample": False, "max_new_tokens": 5}
    batch = vote.chat(model, [chat("1 + 2?"), "What is 30 + 40?"], system="Add.", **greedy)
    alone = [vote.chat(model, x, system="Add.", **greedy) for x in ("1 + 2?", "What is 30 + 40?")]
    assert [x.text for x in batch] == [x.text for x in alone]


def test_a_vote_has_a_confidence(tiny: Tiny):
    vote = SelfConsistency(tokenizer=tiny.tokenizer, n=8)
    torch.manual_seed(0)
    response = vote.complete(tiny.model, "((1 + 2) - (4 * 5)) =\n", max_new_tokens=256)
    weights = response.trace.votes
    assert response.confidence == max(weights.values()) / sum(weights.values())
    assert response.answer == response.trace.best.answer and response.total is None


def test_complete_continues_text_and_returns_one_or_a_list(tiny: Tiny):
    best = BestOfN(tiny.verifier, tokenizer=tiny.tokenizer, n=2)
    torch.manual_seed(0)
    (response,) = best.complete(tiny.model, ["Make 24 from 4 5 6 10.\n"], max_new_tokens=96)
    assert response.trace.prompt == "Make 24 from 4 5 6 10.\n" and response.total is not None


def test_a_template_without_marks_is_none(tiny: Tiny):
    assert has_chat_template(tokenizer(CHATML))
    assert not has_chat_template(tokenizer(None)) and not has_chat_template(tiny.tokenizer)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "got the messages"),
        (3, "got the messages 3"),
        ([{"role": "user"}], "got the turn"),
        ([{"role": "user", "content": 3}], "got the turn"),
        ([{"role": "system", "content": "x"}], "without a user turn"),
        ([[]], "got the messages"),
    ],
)
def test_bad_messages_are_refused_before_any_work(messages: Any, message: str):
    vote = SelfConsistency(tokenizer=tokenizer(CHATML), n=2)
    no_model: Any = None
    with pytest.raises(ValueError, match=message):
        vote.chat(no_model, messages)


def test_what_a_template_cannot_render_is_an_error_that_says_what_to_do():
    for template, match in ((None, "no chat template"), (NO_SYSTEM, "refuses the turns system")):
        vote = SelfConsistency(tokenizer=tokenizer(template), n=2)
        no_model: Any = None
        with pytest.raises(ValueError, match=match):
            vote.chat(no_model, QUESTION, system="x")
    with pytest.raises(ValueError, match="begins with a system turn"):
        vote.chat(no_model, chat(QUESTION, system="a"), system="b")


def test_check_messages_returns_a_conversation_unchanged():
    messages = chat("a", "b", "c", system="s")
    assert check_messages(messages) == copy.deepcopy(messages)
