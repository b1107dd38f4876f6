from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import elu
from transformers import AutoModel, LlamaModel

from reason_decode import RankingModel
from reason_decode.tiny import Tiny

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]
SOLUTIONS = ["10 - 4 = 6 (left: 5 6 6)\n5 * 6 = 30 (left: 6 30)", "A is 1 + 2."]


@pytest.fixture(scope="module")
def ranker(tiny: Tiny) -> RankingModel:
    shape = {**tiny.model.config.to_dict(), "num_hidden_layers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        body = LlamaModel(type(tiny.model.config).from_dict(shape))
        return RankingModel(body, tiny.tokenizer, chat=False)


@pytest.mark.parametrize("chat", [False, True])
def test_equals_the_published_head_on_the_mean_of_the_solution(
    ranker: RankingModel, tiny: Tiny, chat: bool
) -> None:
    words: Any = tiny.tokenizer
    asked = RankingModel(ranker.model, words, chat=chat)
    head: Any = ranker.model.get_submodule("reward_head")
    for (score,), prompt, solution in zip(
        asked.score(PROMPTS, SOLUTIONS), PROMPTS, SOLUTIONS, strict=True
    ):
        if chat:
            turns = [{"role": "user", "content": prompt}]
            before = str(
                words.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            )
            start = words(before, add_special_tokens=False)["input_ids"]
        else:
            start = words(prompt)["input_ids"]
        ids = start + words(f"{solution}\n", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            hidden = ranker.model(torch.tensor([ids])).last_hidden_state[0, len(start) :]
            x = hidden.mean(0)
            x = elu(head.first.weight @ x + head.first.bias) + x
            x = elu(head.second.weight @ x + head.second.bias) + x
            plain = (head.out.weight @ x + head.out.bias).sigmoid()[0]
        torch.testing.assert_close(score, plain, atol=1e-5, rtol=0)


def test_is_the_same_when_saved_and_loaded(ranker: RankingModel, tmp_path: Path) -> None:
    ranker.save_pretrained(tmp_path)
    again = RankingModel.from_pretrained(tmp_path, chat=False)
    torch.testing.assert_close(again.score(PROMPTS, SOLUTIONS), ranker.score(PROMPTS, SOLUTIONS))


def test_a_model_with_another_head_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got LlamaForCausalLM; a ranker has a head of its own"):
        RankingModel(tiny.model, tiny.tokenizer)
    tiny.model.save_pretrained(tmp_path)
    assert AutoModel.from_pretrained(tmp_path).config.model_type == "llama"
    with pytest.raises(ValueError, match="got no tensor reward_head"):
        RankingModel.from_pretrained(tmp_path)
