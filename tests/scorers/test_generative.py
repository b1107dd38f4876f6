"""Chat models that are asked whether a step is correct, thinking ones among them."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from reason_decode.core.messages import Conversation
from reason_decode.scorers.prm_formats import Generative
from tests.chat_templates import CHATML, THINKS, chat, tokenizer

SWITCHED = CHATML.replace(
    "assistant\n{% endif",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif",
)


def _model() -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        size: dict[str, Any] = {"vocab_size": 300, "hidden_size": 16, "intermediate_size": 16}
        heads: dict[str, Any] = {"num_attention_heads": 2, "num_hidden_layers": 1}
        return LlamaForCausalLM(LlamaConfig(**size, **heads, max_position_embeddings=8192))


def _text(prm: Generative, prompt: str, steps: list[str]) -> str:
    return str(prm.tokenizer.decode(prm.encode(prompt, steps).ids))


@pytest.mark.parametrize("template", [SWITCHED, THINKS])
def test_a_model_that_thinks_is_asked_with_its_thought_closed(template: str) -> None:
    """P(Yes) was read where <think> would stand, or a template that opens it was refused."""
    prm = Generative(_model(), tokenizer(template))
    text = _text(prm, "2+3?", ["a", "b"])
    asked = "assistant\n<think>\n\n</think>\n\n"
    assert text.endswith(asked) and text.count(asked) == 2
    (scores,) = prm.score(["2+3?"], [["a", "b"]])
    session = prm.start_session(["2+3?"])
    first = session.score([[["a"]]])[0][0]
    session.select([(0, 0)])
    assert torch.allclose(torch.cat([first, session.score([[["b"]]])[0][0]]), scores)


def test_thinking_may_be_left_on() -> None:
    prm = Generative(_model(), tokenizer(SWITCHED), chat_template_kwargs={"enable_thinking": True})
    assert _text(prm, "2+3?", ["a"]).endswith("assistant\n")
    assert prm.options["chat_template_kwargs"] == {"enable_thinking": True}


def test_own_tags_are_closed_and_saved() -> None:
    template = THINKS.replace("<think>", "<mull>")
    prm = Generative(_model(), tokenizer(template), thinking_tags=("<mull>", "</mull>"))
    assert _text(prm, "2+3?", ["a"]).endswith("<mull>\n\n</mull>\n\n")
    assert prm.options == {"thinking_tags": ["<mull>", "</mull>"]}
    with pytest.raises(ValueError, match="got thinking_tags="):
        Generative(_model(), tokenizer(template), thinking_tags="<mull>")


def test_the_whole_conversation_is_read() -> None:
    """The judge of a chat saw its last turn alone, which may say no more than "And doubled?"."""
    prm = Generative(_model(), tokenizer(CHATML))
    talk = Conversation(chat("2+3?", "5", "And doubled?", system="Be terse."))
    text = _text(prm, talk, ["10"])
    assert text.startswith("<|im_start|>system\nBe terse.<|im_end|>\n<|im_start|>user\n2+3?")
    assert "assistant\n5<|im_end|>\n<|im_start|>user\nAnd doubled?\n\n10\n\nIs this" in text
    answered = Conversation(chat("2+3?", "We add."))
    assert "user\n2+3?\n\nWe add.\n\nSo 5.\n\nIs this" in _text(prm, answered, ["So 5."])


def test_warns_once_where_the_model_would_answer_neither() -> None:
    """Scores of a model that would think first were noise without a word."""
    model = _model()
    prm = Generative(model, tokenizer(CHATML))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prm.score(["2+3?"], ["a\nb"])
    with torch.no_grad():
        bias = torch.zeros(300)
        bias[[prm.token_ids["Yes"], prm.token_ids["No"]]] = -20.0
        model.lm_head.bias = torch.nn.Parameter(bias)
    prm = Generative(model, tokenizer(CHATML))
    with pytest.warns(UserWarning, match="enable_thinking") as seen:
        prm.score(["2+3?"] * 2, ["a\nb", "c"])
        prm.score(["2+3?"], ["a\nb"])
    assert len(seen) == 1


@pytest.mark.parametrize("name", ["qwen3", "qwq", "gpt_oss", "glm4.5", "smollm3", "gemma4"])
def test_real_templates_are_asked_behind_the_thought(name: str, shared_data: Path) -> None:
    words = tokenizer((shared_data / "chat_templates" / f"{name}.jinja").read_text(), bos="<s>")
    prm = Generative(_model(), words)
    text = _text(prm, "2+3?", ["a", "b"])
    ends: Any = {"gpt_oss": "<|channel|>final<|message|>", "gemma4": "thought\n<channel|>"}
    end = ends.get(name, "</think>")
    assert text.rstrip().endswith(end) and text.count(end) >= 2
    assert len(prm.score(["2+3?"], [["a", "b"]])[0]) == 2
