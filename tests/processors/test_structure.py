import json
import re
from typing import Any, Literal

import pytest
import torch
from run_processor import generate
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.tiny.tokenizer import build_tokenizer
from reason_decode import StepSearch, StructuredStepsLogitsProcessor
from reason_decode.tiny import Tiny

pytest.importorskip("outlines_core", reason="pip install 'reason-decode[structured]'")

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]
LONG: dict[str, Any] = {"max_new_tokens": 80, "do_sample": True}
STEP = r"[0-9]+ [-+*/] [^\n]+\n"
CHOICES = ["So it is 7 (or 8).\n", "No.\n"]


def test_structured_solutions_have_the_shape_call_after_call(tiny: Tiny) -> None:
    shape = StructuredStepsLogitsProcessor(tiny.tokenizer, step=STEP, answer=CHOICES)
    search = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=3, beam_width=2)
    options: list[dict[str, Any]] = [
        {"do_sample": True, "num_return_sequences": 3},
        {"do_sample": False},
        {"do_sample": False, "num_beams": 3},
        {"do_sample": True, "custom_generate": search},
    ]
    ended = 0
    for how in options:
        for text in generate(tiny, PROMPTS, shape, max_new_tokens=80, **how):
            *steps, last = text.splitlines(keepends=True)
            assert all(re.fullmatch(STEP, step) for step in steps)
            whole = any(choice.startswith(last) for choice in CHOICES)
            assert whole or re.fullmatch(r"[0-9]+( ([-+*/]( [^\n]*)?)?)?\n?", last)
            ended += last in CHOICES
    assert ended


def test_structure_of_a_batch_is_that_of_its_rows(tiny: Tiny) -> None:
    shape = StructuredStepsLogitsProcessor(tiny.tokenizer, step=STEP, answer="Answer: [^\n]+\n")
    both = generate(tiny, PROMPTS, shape, max_new_tokens=80)
    for prompt, text in zip(PROMPTS, both, strict=True):
        assert generate(tiny, [prompt], shape, max_new_tokens=80) == [text]


def test_an_answer_may_follow_a_json_schema(tiny: Tiny) -> None:
    schema = {"type": "object", "properties": {"x": {"enum": [7, 8]}}, "required": ["x"]}
    shape = StructuredStepsLogitsProcessor(tiny.tokenizer, step=r"a\n", answer=schema)
    for text in generate(tiny, PROMPTS, shape, **LONG, num_return_sequences=4):
        answer = text.removeprefix("a\n" * text.count("a\n"))
        assert not answer or json.loads(answer)["x"] in (7, 8)


def test_characters_of_several_tokens_are_complete(
    tiny: Tiny, tiny_llama: LlamaForCausalLM
) -> None:
    """As text, all parts of a character were U+FFFD, and any of them was allowed."""
    words: PreTrainedTokenizerFast = build_tokenizer(["a b\n"] * 3, vocab_size=262)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=len(words), n_embd=8, n_layer=1, n_head=1, pad_token_id=0, eos_token_id=2
        )
        model = GPT2LMHeadModel(config).eval()
    shape = StructuredStepsLogitsProcessor(words, step="[é→]+\n", answer="日本")
    out = generate(Tiny(model, words, tiny.prm), ["a b"], shape, **LONG, num_return_sequences=8)
    assert any("é" in text or "→" in text for text in out)
    for text in out:
        assert re.fullmatch("[é→\n日本]*\ufffd*", text), text


def test_structure_rejects_invalid_arguments(tiny: Tiny) -> None:
    words = tiny.tokenizer
    with pytest.raises(ValueError, match="repetition of up to 200"):
        StructuredStepsLogitsProcessor(words, step=r"Step: [^\n]{1,200}\n", answer="a")
    with pytest.raises(ValueError, match="at least one"):
        StructuredStepsLogitsProcessor(words, step="a", answer=[])
    with pytest.raises(ValueError, match="DFA"):
        StructuredStepsLogitsProcessor(words, step="[", answer="a")


class Answer:
    """Stands for a pydantic class."""

    @staticmethod
    def model_json_schema() -> dict[str, Any]:
        return {"type": "object", "properties": {"answer": {"type": "integer"}}}


def test_the_types_of_others_are_their_regular_expressions(tiny: Tiny) -> None:
    """``step=Regex(...)`` of outlines was taken, and its repr was compiled."""

    def regex(step: Any, answer: Any) -> str:
        return StructuredStepsLogitsProcessor(tiny.tokenizer, step=step, answer=answer).regex

    choices = regex(STEP, ["a", "b."])
    assert choices == regex(STEP, Literal["a", "b."]) and choices.endswith(r"(a|b\.))"[:-1])
    assert regex(STEP, Answer) == regex(STEP, Answer.model_json_schema())
    for wrong in (7, object(), [1, 2]):
        with pytest.raises(ValueError, match="got step=.*a type of outlines"):
            regex(wrong, ["a"])


def test_types_of_outlines_are_taken_and_grammars_refused(tiny: Tiny) -> None:
    types = pytest.importorskip("outlines.types", reason="pip install outlines")

    def regex(shape: Any) -> str:
        return StructuredStepsLogitsProcessor(tiny.tokenizer, step=STEP, answer=shape).regex

    assert "[0-9]+" in regex(types.Regex("[0-9]+"))
    assert all(choice in regex(types.Choice(["yes", "no"])) for choice in ("yes", "no"))
    with pytest.raises(ValueError, match="answer of CFG, which is no regular expression"):
        regex(types.CFG("start: NUMBER"))
