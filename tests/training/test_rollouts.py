from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from reason_decode import tiny
from reason_decode.tasks import arithmetic
from reason_decode.training import LabelledSolution, label_by_rollouts
from tests.chat_templates import THINKS, tokenizer

EXPRESSION = "((1 + 2 + 3 + 4) - (5 + 2 + 1 + 3))"
LINES = tuple(str(line) for line in arithmetic.solve(EXPRESSION))


def solution(lines: tuple[str, ...]) -> LabelledSolution:
    return LabelledSolution(
        arithmetic.format_prompt(EXPRESSION), lines, (None,) * len(lines), answer="-1"
    )


RIGHT = solution(LINES)
SLIPPED = solution((*LINES[:3], "Then 3 + 3 = 7, so A is 7 + 4.", "Then 7 + 4 = 11, so A is 11."))
FAST: dict[str, Any] = {"rollouts": 2, "max_new_tokens": 180, "temperature": 0.01}


@pytest.mark.slow
def test_steps_are_right_until_a_mistake_from_which_no_rollout_recovers():
    t = tiny.load()
    right, slipped = label_by_rollouts(t.model, t.tokenizer, [RIGHT, SLIPPED], **FAST)
    assert set(right.solution.labels) == {1} and set(right.shares) == {1.0}
    assert slipped.solution.labels == (1, 1, 1, -1, -1)
    assert slipped.shares == (1.0, 1.0, 1.0, 0.0, 0.0)


def even(_: LabelledSolution, text: str) -> bool:
    """A verdict that any text gets, so that few tokens will do."""
    return len(text) % 2 == 0


def test_a_rollout_continues_the_text_up_to_its_step():
    t = tiny.load()
    seen: list[str] = []
    greedy: dict[str, Any] = {"rollouts": 1, "max_new_tokens": 16, "temperature": 1e-4}

    def right(_: LabelledSolution, text: str) -> bool:
        seen.append(text)
        return True

    list(label_by_rollouts(t.model, t.tokenizer, [SLIPPED, RIGHT], is_right=right, **greedy))
    for n, text in enumerate(seen[: len(SLIPPED.steps) - 1], 1):
        given = SLIPPED.prompt + "".join(step + "\n" for step in SLIPPED.steps[:n])
        inputs = t.tokenizer(given, return_tensors="pt")
        plain = t.model.generate(**inputs, max_new_tokens=16)[0, inputs["input_ids"].shape[1] :]
        assert SLIPPED.prompt + text == given + str(
            t.tokenizer.decode(plain, skip_special_tokens=True)
        )


def test_batching_does_not_change_greedy_rollouts():
    t = tiny.load()
    greedy: dict[str, Any] = {
        "rollouts": 2,
        "max_new_tokens": 12,
        "temperature": 1e-4,
        "is_right": even,
    }
    found = [
        list(label_by_rollouts(t.model, t.tokenizer, [RIGHT, SLIPPED], batch_rows=rows, **greedy))
        for rows in (1, 6, 1000)
    ]
    assert found[0] == found[1] == found[2]


def test_is_seeded_and_does_not_touch_the_global_rng():
    t = tiny.load()
    kwargs: dict[str, Any] = {
        "rollouts": 4,
        "max_new_tokens": 12,
        "temperature": 1.5,
        "is_right": even,
    }
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two, other = (
        [
            x.shares
            for x in label_by_rollouts(t.model, t.tokenizer, [SLIPPED, RIGHT], seed=s, **kwargs)
        ]
        for s in (1, 1, 2)
    )
    assert one == two != other
    assert torch.equal(before, torch.get_rng_state())


def test_rejects_invalid_arguments():
    t = tiny.load()
    nameless = LabelledSolution("p\n", ("a",), (None,))
    with pytest.raises(ValueError, match="without an answer"):
        list(label_by_rollouts(t.model, t.tokenizer, [nameless]))
    with pytest.raises(ValueError, match="rollouts=0"):
        list(label_by_rollouts(t.model, t.tokenizer, [RIGHT], rollouts=0))
    assert list(label_by_rollouts(t.model, t.tokenizer, [])) == []


@pytest.mark.parametrize(
    ("steps", "opening"),
    [
        (("a", "b"), "assistant\n<think>\n\n</think>\n\n"),
        (("a</think>", "b"), "assistant\n<think>\n"),
        (("<think>a</think>", "b"), "assistant\n"),
    ],
)
def test_a_thought_that_the_template_opens_is_that_of_the_solution(
    steps: tuple[str, ...], opening: str
):
    """An R1-like template opens a thought, and a solution without one would continue it."""
    words = tokenizer(THINKS)
    size: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), **size, **heads)).eval()
    read: list[str] = []
    embeddings: Any = model.get_input_embeddings()
    embeddings.register_forward_hook(lambda _, ids, __: read.extend(map(words.decode, ids[0])))
    given = LabelledSolution("2+3?", steps, (None,) * 2, answer="5")
    few: dict[str, Any] = {"rollouts": 1, "max_new_tokens": 2}
    ((found, shares),) = label_by_rollouts(model, words, [given], **few)
    assert read[0].endswith(opening) and len(shares) == 2
    assert found.labels == (-1, -1)
