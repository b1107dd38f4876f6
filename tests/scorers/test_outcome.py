from pathlib import Path
from typing import Any

import pytest
import torch
from published_prms import save_qwen_rm
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

from reason_decode import BestOfN, OutcomeRewardModel
from reason_decode.scorers.loading import scorer_kind
from reason_decode.strategies import BestOfNSelector
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close, roundings

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]
SOLUTIONS = [
    "10 - 4 = 6 (left: 5 6 6)\n5 * 6 = 30 (left: 6 30)",
    "10 - 4 = 7 (left: 5 6 7)",
    "A is 1 + 2.\nFirst 1 + 2 = 3, so A is 3.",
]
PAIRS = [PROMPTS[0], PROMPTS[0], PROMPTS[1]]


def _orm(tiny: Tiny, labels: int = 1, **options: Any) -> OutcomeRewardModel:
    shape = {**tiny.model.config.to_dict(), "num_labels": labels, "num_hidden_layers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        model = LlamaForSequenceClassification(LlamaConfig.from_dict(shape))
    return OutcomeRewardModel(model, tiny.tokenizer, **options)


@pytest.mark.numeric
@pytest.mark.parametrize("chat", [False, True])
def test_equals_the_plain_classification_of_the_text(tiny: Tiny, chat: bool) -> None:
    """transformers' own pooling reads the last token that is no padding."""
    orm = _orm(tiny, raw=True, chat=chat)
    tokenizer: Any = tiny.tokenizer
    plain = []
    for prompt, solution in zip(PAIRS, SOLUTIONS, strict=True):
        if chat:
            roles = (("user", prompt), ("assistant", solution))
            turns = [{"role": role, "content": content} for role, content in roles]
            text = str(tokenizer.apply_chat_template(turns, tokenize=False))
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            ids = tokenizer(f"{prompt}{solution}\n")["input_ids"]
        with torch.no_grad():
            plain.append(orm.model(torch.tensor([ids])).logits[0])
    assert_close(orm.score(PAIRS, SOLUTIONS), plain, terms=roundings(orm.model))


@pytest.mark.numeric
def test_two_labels_give_the_probability_of_the_second(tiny: Tiny) -> None:
    orm = _orm(tiny, labels=2, chat=False)
    ids = torch.tensor([tiny.tokenizer(f"{PAIRS[0]}{SOLUTIONS[0]}\n")["input_ids"]])
    with torch.no_grad():
        plain = orm.model(ids).logits.softmax(-1)[0, 1:]
    assert_close(orm.score(PAIRS[:1], SOLUTIONS[:1])[0], plain, terms=roundings(orm.model))


def test_best_of_n_returns_the_candidate_that_it_scores_highest(tiny: Tiny) -> None:
    orm = _orm(tiny)
    out = tiny.model.generate(
        **tiny.tokenizer(PROMPTS[:1], return_tensors="pt"),
        do_sample=True,
        max_new_tokens=60,
        custom_generate=BestOfN(orm, tokenizer=tiny.tokenizer, n=4),
        return_dict_in_generate=True,
    )
    trace = out.traces[0]
    assert trace.best.total == max(candidate.total for candidate in trace.candidates)
    assert [len(candidate.scores) for candidate in trace.candidates] == [1] * 4


@pytest.mark.numeric
@pytest.mark.parametrize("way", ["alone", "best of n"])
def test_reads_a_solution_as_it_was_generated(tiny: Tiny, way: str) -> None:
    """Blank lines and indentation of code were once taken away: 0.13 instead of 0.28."""
    orm = _orm(tiny, chat=True)
    code = "def f(x):\n\n    if x:\n        return 1\n    return 2\n"
    if way == "alone":
        found = orm.score(["Write f."], [code])[0]
    else:
        selector = BestOfNSelector(orm)
        candidates = [selector.candidate(code), selector.candidate("def f(x): return 2")]
        (scored,), _ = selector.score(["Write f."], [candidates])
        found = torch.tensor(scored[0].scores)
    roles = (("user", "Write f."), ("assistant", code))
    turns = [{"role": role, "content": content} for role, content in roles]
    tokenizer: Any = tiny.tokenizer
    text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    with torch.no_grad():
        ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
        plain = orm.model(ids).logits[0].sigmoid()
    assert_close(found, plain, terms=roundings(orm.model))


@pytest.mark.numeric
def test_reads_the_head_of_two_layers_of_a_checkpoint(tmp_path: Path) -> None:
    """Qwen2.5-Math-RM, with its system turn: both reward classes once refused it."""
    save_qwen_rm(tmp_path)
    options: dict[str, Any] = {"raw": True, "system": "Be strict.", "separator": "\n\n"}
    orm = OutcomeRewardModel.from_pretrained(tmp_path, **options)
    roles = (("system", "Be strict."), ("user", "What is 2 + 3?"), ("assistant", "So\n\nit is 5."))
    turns = [{"role": role, "content": content} for role, content in roles]
    tokenizer: Any = orm.tokenizer
    text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    model: Any = orm.model
    with torch.no_grad():
        plain = model.reward_head(model(ids).last_hidden_state[0, -1])
    assert_close(orm.score([roles[1][1]], [roles[2][1]])[0], plain, terms=roundings(orm.model))
    assert orm.settings().items() >= options.items()
    assert scorer_kind(tmp_path) == "orm"


@pytest.mark.numeric
def test_a_language_model_answers_with_a_verdict(tiny: Tiny, tmp_path: Path) -> None:
    """RLHFlow's ORM: one user turn of question and answer, ``+`` against ``-``."""
    folder = tmp_path / "RLHFlow" / "Llama3.1-8B-ORM-Mistral-Data"
    tiny.model.save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    orm = OutcomeRewardModel.from_pretrained(folder)
    assert orm.verdicts == ("+", "-") == tuple(orm.settings()["verdicts"])
    turn = [{"role": "user", "content": f"{PROMPTS[0]} {SOLUTIONS[0]}"}]
    tokenizer: Any = tiny.tokenizer
    text = str(tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True))
    verdicts = [tokenizer(x, add_special_tokens=False)["input_ids"][-1] for x in ("+", "-")]
    with torch.no_grad():
        ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
        plain = tiny.model(ids).logits[0, -1:, verdicts].softmax(-1)[:, 0]
    assert_close(orm.score(PROMPTS[:1], SOLUTIONS[:1])[0], plain, terms=roundings(orm.model))
    with pytest.raises(ValueError, match="need the texts of two tokens"):
        OutcomeRewardModel(tiny.model, tiny.tokenizer, verdicts="+-")


def test_rejects_models_with_another_head(tiny: Tiny, tiny_llama: LlamaForCausalLM) -> None:
    with pytest.raises(ValueError, match="got LlamaForCausalLM with 2 labels"):
        OutcomeRewardModel(tiny_llama, tiny.tokenizer)
    with pytest.raises(ValueError, match="with 3 labels"):
        _orm(tiny, labels=3)
    with pytest.raises(ValueError, match="raw=True"):
        _orm(tiny, labels=2, raw=True)
