"""Every kind of scorer on a real chat model as judge, held to the laws of scorers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from reason_decode import (
    BestOfN,
    LikelihoodScorer,
    OutcomeRewardModel,
    ProcessRewardModel,
    RationaleScorer,
)
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.testing import check_scorer
from tests.real.conftest import GGUF, RealModel

pytestmark = pytest.mark.real

CHAT = [{"role": "user", "content": "What is 2 + 3?"}]
SOLUTIONS = ["2 + 3 = 5\nThe answer is 5.", "I like the sea."]


def outcome_model(real: RealModel) -> Any:
    torch.manual_seed(0)
    head: Any = AutoModelForSequenceClassification.from_pretrained(real.folder, num_labels=1)
    return OutcomeRewardModel(head.float().eval(), real.tokenizer)


SCORERS: dict[str, Callable[[RealModel], Any]] = {
    "likelihood": lambda real: LikelihoodScorer(real.model, real.tokenizer),
    "likelihood of the whole": lambda real: LikelihoodScorer(
        real.model, real.tokenizer, per_step=False
    ),
    "generative": lambda real: ProcessRewardModel.from_pretrained(
        real.folder, format="generative", dtype=torch.float32
    ),
    "step tags": lambda real: ProcessRewardModel.from_pretrained(
        real.folder, format="step-tag", tag="\n\n\n\n", verdicts=["+", "-"], dtype=torch.float32
    ),
    "outcome": outcome_model,
    "rationale": lambda real: RationaleScorer(
        RationaleWriter(real.model, real.tokenizer, max_new_tokens=2)
    ),
}


@pytest.mark.filterwarnings("ignore:Some weights")
@pytest.mark.parametrize("name", SCORERS)
def test_every_scorer_keeps_the_laws(real: RealModel, name: str) -> None:
    check_scorer(SCORERS[name](real))


def test_the_likelihood_prefers_an_answer_to_the_question(real: RealModel) -> None:
    scorer = LikelihoodScorer(real.model, real.tokenizer, per_step=False)
    good, bad = scorer.score([CHAT[0]["content"]] * 2, SOLUTIONS)
    assert float(good) > float(bad)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_a_peft_model_judges_as_its_base_does(real: RealModel) -> None:
    peft = pytest.importorskip("peft")
    base = AutoModelForCausalLM.from_pretrained(real.folder, dtype=torch.float32).eval()
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"])
    adapted = peft.get_peft_model(base, config).eval()
    # A new LoRA adds nothing.
    ours = LikelihoodScorer(adapted, real.tokenizer).score([CHAT[0]["content"]], SOLUTIONS[:1])
    plain = LikelihoodScorer(real.model, real.tokenizer).score([CHAT[0]["content"]], SOLUTIONS[:1])
    torch.testing.assert_close(ours[0], plain[0])


def test_the_likelihood_of_its_own_samples_is_what_they_were_sampled_with(real: RealModel) -> None:
    """Encoded anew, as text, they had other ids, a newline more and no end of sequence."""
    scorer = LikelihoodScorer(real.model, real.tokenizer, per_step=False)
    best = BestOfN(scorer, tokenizer=real.tokenizer, n=1)
    for seed in range(2):
        options = {**real.inputs(CHAT), "do_sample": True, "max_new_tokens": 24}
        torch.manual_seed(seed)
        plain = real.model.generate(**options, output_logits=True, return_dict_in_generate=True)
        torch.manual_seed(seed)
        out = real.model.generate(**options, custom_generate=best, return_dict_in_generate=True)
        logps = torch.stack(plain.logits, dim=1)[0].log_softmax(-1)
        sampled = plain.sequences[0, -len(logps) :]
        mean = logps.gather(1, sampled[:, None]).mean()
        assert torch.tensor(out.traces[0].best.total).log().item() == pytest.approx(
            mean.item(), abs=1e-3
        )
        assert out.cost.scorer == 0


def test_packed_gguf_generates_and_judges(real: RealModel, gguf_folder: Path) -> None:
    packed: Any = AutoModelForCausalLM.from_pretrained(gguf_folder, gguf_file=GGUF).eval()
    scorer = LikelihoodScorer(packed, real.tokenizer)
    scores = scorer.score([CHAT[0]["content"]], SOLUTIONS[:1])
    plain = LikelihoodScorer(real.model, real.tokenizer).score([CHAT[0]["content"]], SOLUTIONS[:1])
    # The unpacked weights were rounded to bfloat16 once more.
    torch.testing.assert_close(scores[0], plain[0], rtol=0.05, atol=0.0)
    best = BestOfN(scorer, tokenizer=real.tokenizer, n=2)
    out = packed.generate(
        **real.inputs(CHAT), do_sample=True, max_new_tokens=6, custom_generate=best
    )
    assert out.shape[0] == 1
