from pathlib import Path

import pytest

from reason_decode import extract_answer
from reason_decode.core.thinking import (
    HARMONY,
    THINK,
    ThinkingTags,
    answer_of,
    close_thought,
    find_thinking_tags,
    opens_thought,
    part_of,
)
from tests.chat_templates import CHATML, THINKS, chat, tokenizer

OPENING = {"deepseek_r1_distill_qwen", "minimax_m2", "nemotron_nano_v2", "qwen3.5", "qwq"}

THOUGHT = "<think>\nIs it \\boxed{7}? No.\n</think>\n\nThe answer is 5."


def test_an_answer_is_read_behind_the_thought() -> None:
    """A vote elected the 7 that two texts had weighed while they thought."""
    assert extract_answer(THOUGHT) == "5"
    assert extract_answer(THOUGHT.replace("</think>", "")) is None
    assert (
        extract_answer("<r>Is it \\boxed{7}?</r>It is \\boxed{5}", thinking=("<r>", "</r>")) == "5"
    )


def test_a_thought_that_never_closed_states_nothing_however_long_it_is() -> None:
    """Only the end of a text was read, where a long thought has lost its opening tag."""
    assert extract_answer("<think>" + "I wonder. " * 20_000 + "The answer is 7.") is None


def test_a_text_may_begin_inside_a_thought() -> None:
    """R1-like templates open the thought in the prompt, so that a draft had no opening tag."""
    draft = "Is it \\boxed{7}? Perhaps"
    assert answer_of(draft) == draft and answer_of(draft, opened=True) == ""
    closed = f"{draft}</think>\n\nIt is \\boxed{{5}}."
    assert answer_of(closed, opened=True) == answer_of(closed) == "\n\nIt is \\boxed{5}."
    assert part_of(closed, "thought", opened=True) == part_of(closed, "thought") == draft


def test_the_parts_of_a_text() -> None:
    assert part_of(THOUGHT, "both") == THOUGHT
    assert part_of(THOUGHT, "answer") == "The answer is 5."
    assert part_of(THOUGHT, "thought") == "Is it \\boxed{7}? No."
    assert part_of("It is 5.", "thought") == "" and part_of("It is 5.", "answer") == "It is 5."
    assert part_of("<think>\nHm", "thought") == "Hm" and part_of("<think>\nHm", "answer") == ""


@pytest.mark.parametrize("between", ["<|end|><|start|>assistant", "assistant"])
def test_the_channels_of_harmony_are_a_thought_and_an_answer(between: str) -> None:
    text = f"{HARMONY.opening}2 + 3?{between}{HARMONY.closing}It is 5."
    assert part_of(text, "thought", HARMONY) == "2 + 3?"
    assert part_of(text, "answer", HARMONY) == "It is 5."
    assert answer_of(f"{HARMONY.closing}It is 5.", HARMONY) == "It is 5."


def test_tags_are_found_in_the_template() -> None:
    assert find_thinking_tags(tokenizer(THINKS)) == find_thinking_tags(tokenizer(CHATML)) == THINK
    named = tokenizer(THINKS.replace("<think>", "<seed:think>"))
    assert find_thinking_tags(named) == ThinkingTags("<seed:think>", "</seed:think>")
    mistral = tokenizer(CHATML + "{# [THINK] #}")
    assert find_thinking_tags(mistral) == ThinkingTags("[THINK]", "[/THINK]")


def test_a_closed_thought_is_left_alone() -> None:
    prompt = tokenizer(THINKS).apply_chat_template(
        chat("2+3?"), tokenize=False, add_generation_prompt=True
    )
    assert opens_thought(prompt, THINK)
    closed = close_thought(prompt, THINK)
    assert closed.endswith("assistant\n<think>\n\n</think>\n\n")
    assert close_thought(closed, THINK) == closed and not opens_thought(closed, THINK)
    assert not opens_thought("What does <think> mean?", THINK)


def test_real_templates_open_thoughts_where_their_makers_say(shared_data: Path) -> None:
    opened, found = set(), {}
    for path in sorted((shared_data / "chat_templates").glob("*.jinja")):
        words = tokenizer(path.read_text(), bos="<s>")
        found[path.stem] = find_thinking_tags(words)
        text = words.apply_chat_template(chat("2+3?"), tokenize=False, add_generation_prompt=True)
        if opens_thought(text, found[path.stem]):
            opened.add(path.stem)
    assert opened == OPENING
    assert found["gpt_oss"] == HARMONY
    assert found["gemma4"] == ThinkingTags("<|channel>thought", "<channel|>")
    assert set(found.values()) == {HARMONY, found["gemma4"], THINK}
