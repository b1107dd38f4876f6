import copy
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForTokenClassification,
    PreTrainedTokenizerFast,
)

from examples.tiny.batch import VERDICTS
from examples.tiny.tokenizer import build_tokenizer
from reason_decode import ProcessRewardModel
from reason_decode.scorers import TokenClassification
from reason_decode.tiny import WEIGHTS, Tiny, load
from tests.tolerance import assert_close, roundings

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]
SOLUTIONS = [
    "10 - 4 = 6 (left: 5 6 6)\n5 * 6 = 30 (left: 6 30)\n30 + 6 = 36 (left: 36)",
    "10 - 4 = 7 (left: 5 6 7)",
    "4 + 5 = 9 (left: 6 9 10)\n9 * 6 = 54 (left: 10 54)",
    "A is 1 + 2.\nFirst 1 + 2 = 3, so A is 3.",
]
OWNERS = [0, 0, 0, 1]
PAIRS = [PROMPTS[owner] for owner in OWNERS]


def _score_plainly(tiny: Tiny, prompt: str, solution: str) -> torch.Tensor:
    """One uncached forward pass over one solution, from the description of the layout."""
    tokenizer = tiny.prm.tokenizer
    ids = [tokenizer.bos_token_id, *tokenizer(prompt, add_special_tokens=False)["input_ids"]]
    ends: list[int] = []
    for step in solution.split("\n"):
        ids += tokenizer(step, add_special_tokens=False)["input_ids"]
        ids += tokenizer("\n", add_special_tokens=False)["input_ids"]
        ends.append(len(ids) - 1)
    with torch.no_grad():
        logits = tiny.prm.model(torch.tensor([ids])).logits[0]
    return logits.softmax(-1)[ends, VERDICTS.index("right")]


@pytest.mark.numeric
def test_equals_a_plain_uncached_pass(tiny: Tiny) -> None:
    plain = [
        _score_plainly(tiny, prompt, solution)
        for prompt, solution in zip(PAIRS, SOLUTIONS, strict=True)
    ]
    assert_close(tiny.prm.score(PAIRS, SOLUTIONS), plain, terms=roundings(tiny.prm.model))


def test_scores_are_float32_probabilities_one_a_step(tiny: Tiny) -> None:
    for scores, solution in zip(tiny.prm.score(PAIRS, SOLUTIONS), SOLUTIONS, strict=True):
        assert scores.dtype == torch.float32
        assert len(scores) == solution.count("\n") + 1
        assert bool(((scores >= 0) & (scores <= 1)).all())


@pytest.mark.numeric
def test_a_prm_with_another_vocabulary_reads_the_text(tiny: Tiny) -> None:
    """Text is the common ground: the generator's tokens never reach the scorer."""
    from transformers import LlamaForTokenClassification

    from reason_decode import BestOfN

    tokenizer: PreTrainedTokenizerFast = build_tokenizer(["left = make"] * 2, vocab_size=268)
    config = tiny.prm.model.config.__class__.from_dict(
        {**tiny.prm.model.config.to_dict(), "vocab_size": len(tokenizer), "num_labels": 2}
    )
    prm = TokenClassification(LlamaForTokenClassification(config), tokenizer)
    inputs = tiny.tokenizer(PROMPTS[:1], return_tensors="pt")
    out = tiny.model.generate(
        **inputs,
        do_sample=True,
        max_new_tokens=60,
        custom_generate=BestOfN(prm, tokenizer=tiny.tokenizer, n=3),
        return_dict_in_generate=True,
    )
    best = out.traces[0].best
    alone = prm.score(PROMPTS[:1], [best.text])[0]
    assert_close(torch.tensor(best.scores), alone, terms=roundings(prm.model))


def test_rejects_a_tokenizer_too_large_for_the_model(tiny: Tiny) -> None:
    tokenizer: PreTrainedTokenizerFast = build_tokenizer(["left = make"], vocab_size=268)
    tokenizer.add_tokens([f"<more_{k}>" for k in range(100)])
    with pytest.raises(ValueError, match="pass the tokenizer that belongs to it"):
        TokenClassification(tiny.prm.model, tokenizer)


def test_nan_scores_name_the_candidate(tiny: Tiny) -> None:
    model = AutoModelForTokenClassification.from_pretrained(WEIGHTS / "prm")
    broken = TokenClassification(model, tiny.prm.tokenizer)
    with torch.no_grad():
        model.score.bias.fill_(float("nan"))
    with pytest.raises(ValueError, match="got score nan for step 0 of solution 0"):
        broken.score(PAIRS, SOLUTIONS)
    with pytest.raises(ValueError, match="candidate 0 of trajectory 0"):
        broken.start_session(PROMPTS).score([[["a"]], [["b"]]])


def test_rejects_models_with_another_head(tiny: Tiny, tiny_llama: LlamaForCausalLM) -> None:
    with pytest.raises(ValueError, match="got LlamaForCausalLM"):
        TokenClassification(tiny_llama, tiny.tokenizer)
    with pytest.raises(ValueError, match="got LlamaForCausalLM in"):
        ProcessRewardModel.from_pretrained(WEIGHTS / "base")


@pytest.mark.numeric
def test_the_neutral_label_counts_as_asked(tiny: Tiny) -> None:
    strict, even, lenient = (
        ProcessRewardModel.from_pretrained(WEIGHTS / "prm", neutral=neutral).score(PAIRS, SOLUTIONS)
        for neutral in ("negative", "half", "positive")
    )
    own, whole = tiny.prm.score(PAIRS, SOLUTIONS), tiny.verifier.score(PAIRS, SOLUTIONS)
    terms = roundings(tiny.prm.model)
    assert_close(strict, own, terms=terms)
    halves = [(low + high) / 2 for low, high in zip(strict, lenient, strict=True)]
    assert_close(even, halves, terms=terms)
    assert all((high >= low).all() for low, high in zip(strict, lenient, strict=True))
    assert_close(whole, even, terms=terms)
    assert tiny.verifier.settings()["neutral"] == "half"
    assert "neutral" not in tiny.prm.settings()
    with pytest.raises(ValueError, match="got neutral='maybe' with labels"):
        ProcessRewardModel.from_pretrained(WEIGHTS / "prm", neutral="maybe")


def test_a_special_token_of_the_layout_splits_no_texts() -> None:
    """A model trained with a special token between steps gave paragraphs one score, silently."""
    tokenizer: Any = copy.deepcopy(load().tokenizer)
    tokenizer.add_tokens(["ки"], special_tokens=True)
    size: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 16,
    }
    heads: dict[str, Any] = {
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "num_hidden_layers": 1,
    }
    model = LlamaForTokenClassification(LlamaConfig(**size, **heads))
    prm = TokenClassification(model, tokenizer, separator="ки")
    assert len(prm.score(["q"], ["We add.\n\nSo 5."])[0]) == 2
    assert prm.encode("q", ["a"]).ids[-1] == tokenizer.convert_tokens_to_ids("ки")
    assert prm.prompt_suffix == ""
    by_line = TokenClassification(model, tokenizer, separator="ки", splitter="\n")
    assert len(by_line.score(["q"], ["We add.\nSo 5."])[0]) == 2
    by_length = TokenClassification(model, tokenizer, separator="ки", splitter={"tokens": 2})
    assert len(by_length.score(["q"], ["We add.\nSo 5."])[0]) > 2
