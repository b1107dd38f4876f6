from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from reason_decode import LikelihoodScorer, SelfConsistency
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close, roundings

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]
STEPS = [
    ["10 - 4 = 6 (left: 5 6 6)", "5 * 6 = 30 (left: 6 30)"],
    ["10 - 4 = 7 (left: 5 6 7)"],
    ["A is 1 + 2.", "First 1 + 2 = 3, so A is 3."],
]
PAIRS = [PROMPTS[0], PROMPTS[0], PROMPTS[1]]
# Models that cap or scale their logits, one with a layer before the output matrix, and two plain.
LOGITS: dict[str, dict[str, Any]] = {
    "llama": {},
    "gemma2": {
        "head_dim": 16,
        "final_logit_softcapping": 2.0,
        "layer_types": ["full_attention"] * 2,
    },
    "granite": {"logits_scaling": 3.0},
    "cohere": {"logit_scale": 0.3},
    "hyperclovax": {"logits_scaling": 0.3},
    "modernbert-decoder": {"pad_token_id": 0},
    "gpt2": {"n_embd": 32, "n_head": 2, "n_layer": 2},
}


def _random(kind: str, tiny: Tiny) -> PreTrainedModel:
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2}
    shape |= {"num_hidden_layers": 2, "num_key_value_heads": 2, "vocab_size": len(tiny.tokenizer)}
    if kind == "gpt2":
        shape = {"vocab_size": len(tiny.tokenizer)}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(kind, **shape, **LOGITS[kind])
        )
        for x in model.parameters():
            torch.nn.init.normal_(x, std=0.3)
    return model


def _plain(model: PreTrainedModel, tiny: Tiny, prompt: str, steps: list[str]) -> list[torch.Tensor]:
    """Log-probabilities of each step's tokens from the whole matrix of logits."""
    tokenizer: Any = tiny.tokenizer
    pieces = [tokenizer(prompt)["input_ids"]]
    pieces += [tokenizer(f"{step}\n", add_special_tokens=False)["input_ids"] for step in steps]
    ids = torch.tensor([[token for piece in pieces for token in piece]])
    with torch.no_grad():
        logps = model(ids).logits[0, :-1].float().log_softmax(-1)
    logps = logps.gather(-1, ids[0, 1:, None])[:, 0]
    return list(logps[len(pieces[0]) - 1 :].split([*map(len, pieces[1:])]))


@pytest.mark.numeric
@pytest.mark.parametrize("kind", LOGITS)
def test_equals_the_softmax_of_all_logits(tiny: Tiny, kind: str) -> None:
    model = _random(kind, tiny).eval()
    scorer = LikelihoodScorer(model, tiny.tokenizer, chat=False)
    whole = LikelihoodScorer(model, tiny.tokenizer, chat=False, per_step=False)
    summed = LikelihoodScorer(model, tiny.tokenizer, chat=False, length_normalize=False)
    for prompt, steps in zip(PAIRS, STEPS, strict=True):
        logps = _plain(model, tiny, prompt, steps)
        means, sums, mean = (
            judge.score([prompt], [steps])[0].log() for judge in (scorer, summed, whole)
        )
        # In nats, for what is relative to a probability is absolute there.
        terms = roundings(model)
        assert_close(means, torch.stack([logp.mean() for logp in logps]), terms=terms)
        assert_close(sums, torch.stack([logp.sum() for logp in logps]), terms=terms)
        assert_close(mean, torch.cat(logps).mean()[None], terms=terms)


def test_every_token_is_read_once(tiny: Tiny) -> None:
    """A step's first token is predicted at the prompt's last, which is not read again for it."""
    scorer = LikelihoodScorer(tiny.model, tiny.tokenizer, chat=False)
    tokenizer: Any = tiny.tokenizer
    session = scorer.start_session(PROMPTS[:1])
    session.score([[STEPS[0][:1], STEPS[1]]])
    session.select([(0, 0)])
    session.score([[STEPS[0][1:]]])
    steps = [*STEPS[0], *STEPS[1]]
    unique = len(tokenizer(PROMPTS[0])["input_ids"])
    unique += sum(len(tokenizer(f"{x}\n", add_special_tokens=False)["input_ids"]) for x in steps)
    assert session.tokens_read == unique


def test_weighs_votes(tiny: Tiny) -> None:
    scorer = LikelihoodScorer(tiny.model, tiny.tokenizer, chat=False, per_step=False)
    out = tiny.model.generate(
        **tiny.tokenizer(PROMPTS[1:], return_tensors="pt"),
        do_sample=True,
        max_new_tokens=80,
        custom_generate=SelfConsistency(tokenizer=tiny.tokenizer, n=4, scorer=scorer),
        return_dict_in_generate=True,
    )
    trace = out.traces[0]
    voters = [c for c in trace.candidates if c.answer is not None]
    assert sum(trace.votes.values()) == pytest.approx(sum(c.total or 0.0 for c in voters))


def test_rejects_a_slow_tokenizer(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(tiny.tokenizer), "is_fast", False)
    with pytest.raises(ValueError, match="fast tokenizer"):
        LikelihoodScorer(tiny.model, tiny.tokenizer)
