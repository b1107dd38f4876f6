from copy import copy
from functools import partial
from typing import Any

import pytest
import torch

from reason_decode import tiny
from reason_decode.core.tags import Tags
from reason_decode.mining import (
    AnnotatedDocument,
    ChatModel,
    Document,
    RequestFailed,
    extract,
    faithful,
    run_stages,
)
from reason_decode.mining.prompt import SHOTS, messages, without_rationales

TEMPLATE = "{{ messages[-1]['content'] }}"


@pytest.mark.parametrize("shot", [shot for shots in SHOTS.values() for shot in shots])
def test_the_worked_examples_pass_the_faithfulness_gate(shot):
    answer = shot.rpartition("#### ")[2] if "####" in shot else None
    document = Document("1", "s", without_rationales(shot), answer=answer)
    write = partial(extract, complete=lambda chats: (shot for _ in chats))
    (found,) = run_stages([document], [write, faithful])
    assert (
        isinstance(found, AnnotatedDocument) and len(found.rationales) >= 2 and not found.rejected
    )


def test_the_prompt_has_the_domain_of_the_source_and_the_given_tags():
    document = Document("1", "gsm8k", "2 + 3")
    math = messages(document, {"gsm8k": "math"}, Tags("[", "]"))
    assert math[1]["content"] == without_rationales(SHOTS["math"][0])
    assert math[2]["content"].count("[") == 3 and "<BOT>" not in str(math)
    assert "between [ and ]" in math[0]["content"]
    assert messages(document)[1]["content"] == without_rationales(SHOTS["general"][0])
    with pytest.raises(ValueError, match="'law'; there are 'math', 'general'"):
        unknown: Any = "law"
        messages(document, unknown)


def test_batching_does_not_change_answers():
    models = tiny.load()
    tokenizer: Any = copy(models.tokenizer)
    tokenizer.chat_template = TEMPLATE
    texts = ["Make 24 from 4 6.\n", "Make 36 from 4 5 6 10.\n", "Make 10 from 4 6.\n"]
    chats = [[{"role": "user", "content": text}] for text in texts]
    options = {"max_new_tokens": 100}
    together = list(ChatModel(models.model, tokenizer, **options, batch_size=3)(chats))
    assert together == list(ChatModel(models.model, tokenizer, **options, batch_size=1)(chats))
    assert all(together)


def test_long_chats_and_answers_are_failed_requests():
    models = tiny.load()
    tokenizer: Any = copy(models.tokenizer)
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="without a chat template"):
        ChatModel(models.model, tokenizer)
    tokenizer.chat_template = TEMPLATE
    complete = ChatModel(models.model, tokenizer, max_new_tokens=2)
    room: Any = models.model.config.max_position_embeddings
    texts = ["Make 24 from 4 6.\n", "1 " * room]
    cut, long = complete([[{"role": "user", "content": text}] for text in texts])
    assert cut == RequestFailed("cut off: the answer has more than 2 tokens")
    assert isinstance(long, RequestFailed) and f"the model reads {room}" in long.reason
    assert torch.is_grad_enabled()
