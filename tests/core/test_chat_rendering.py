"""The conversation behind a prompt that a chat template rendered."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from chat_templates import (
    CHATML,
    DEFAULT_SYSTEM,
    NO_SYSTEM,
    SYSTEM_BY_BLANK_LINE,
    THINKS,
    TRIMS,
    chat,
    tokenizer,
)

from reason_decode.core.chat_rendering import find_messages, scorer_prompts
from reason_decode.core.messages import last_question, turns


def found(words: Any, messages: list[dict[str, str]], **kwargs: Any) -> Any:
    arguments = {"add_generation_prompt": True, **kwargs}
    text = words.apply_chat_template(messages, tokenize=False, **arguments)
    return find_messages(words, [text])[0]


CHATS = [
    chat("What is 2 + 2?"),
    chat("Problem:\n\n1. a\n2. b\n\nSolve it."),
    chat("What is 2 + 2?", "Four.", "And 3 + 3?"),
    chat("a", "b\n\nc", "d", "e", "f?", system="Be terse.\nAlways."),
    chat("What does <|im_end|> mean?"),
]


@pytest.mark.parametrize("template", [CHATML, DEFAULT_SYSTEM, THINKS])
@pytest.mark.parametrize("messages", CHATS)
def test_finds_the_messages_of_a_chat(template: str, messages: list[dict[str, str]]) -> None:
    assert found(tokenizer(template), messages) == messages


def test_contents_are_trimmed_where_the_template_trims() -> None:
    assert found(tokenizer(TRIMS), chat("  What? \n")) == chat("What?")


def test_a_system_turn_of_the_template_itself_is_left_out() -> None:
    words = tokenizer(DEFAULT_SYSTEM)
    assert found(words, chat("Hi", system="You are Q.")) == chat("Hi")
    assert found(words, chat("Hi", system="You are R.")) == chat("Hi", system="You are R.")


def test_turns_of_one_role_in_a_row() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "b?"}]
    assert found(tokenizer(CHATML), messages) == messages


def test_a_blank_line_that_may_part_a_system_turn_is_not_guessed() -> None:
    words = tokenizer(SYSTEM_BY_BLANK_LINE)
    assert found(words, chat("One line.")) == chat("One line.")
    assert found(words, chat("Two\n\nparagraphs.")) is None
    assert found(words, chat("Question", system="System")) is None


def test_a_template_that_refuses_system_turns() -> None:
    assert found(tokenizer(NO_SYSTEM), CHATS[2]) == CHATS[2]


def test_an_answer_that_is_to_be_continued_is_the_last_turn() -> None:
    messages = chat("What?", "It is")
    words = tokenizer(CHATML)
    kwargs = {"add_generation_prompt": False, "continue_final_message": True}
    assert found(words, messages, **kwargs) == messages
    assert last_question(messages) == "What?"


def test_a_doubled_bos_is_one() -> None:
    words = tokenizer("{{ bos_token }}" + CHATML, bos="<s>")
    text = words.apply_chat_template(CHATS[0], tokenize=False, add_generation_prompt=True)
    assert find_messages(words, ["<s>" + text]) == [CHATS[0]]


def test_plain_prompts_are_no_chats() -> None:
    assert find_messages(tokenizer(None), ["Make 24 from 4 5 6 10."]) == [None]
    assert find_messages(tokenizer(CHATML), ["Make 24 from 4 5 6 10."]) == [None]
    assert last_question("Make 24 from 4 5 6 10.") == "Make 24 from 4 5 6 10."
    with pytest.raises(ValueError, match="without a user turn"):
        last_question([{"role": "system", "content": "Hi"}])


def test_every_shared_template_gives_the_question_or_says_it_cannot(shared_data: Path) -> None:
    folder = shared_data / "chat_templates"
    bos = {"gemma": "<bos>", "llama3": "<|begin_of_text|>", "command_r7b": "<BOS_TOKEN>"}
    clear = unclear = 0
    assert json.loads((folder / "check.json").read_text())
    for path in sorted(folder.glob("*.jinja")):
        own = next((x for name, x in bos.items() if path.stem.startswith(name)), "<s>")
        words = tokenizer(path.read_text(), own)
        for messages in CHATS:
            try:
                result = found(words, messages)
            except Exception:  # the template refuses this chat
                continue
            if result is None:
                unclear += 1
                continue
            clear += 1
            assert last_question(result) == messages[-1]["content"].strip(), path.stem
    assert clear >= 0.95 * (clear + unclear)


def test_questions_overrule_the_last_turn_and_keep_the_conversation():
    """A task says both: the chat with its instructions, and the bare problem."""
    messages = [{"role": "user", "content": "1 + 1? Reason step by step."}]
    (prompt,) = scorer_prompts([None], None, messages, ["1 + 1?"])
    assert prompt == "1 + 1?" and turns(prompt) == turns(copy.copy(prompt)) == messages
