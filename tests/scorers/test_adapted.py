"""Scorers whose model is in peft's wrapper, its adapter not merged, score by the adapted model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
)

from reason_decode import (
    BestOfN,
    LikelihoodScorer,
    OutcomeRewardModel,
    RationaleScorer,
)
from reason_decode.models.heads import hub_id_or_path
from reason_decode.scorers import RationaleWriter
from reason_decode.scorers.loading import load_scorer
from reason_decode.scorers.prm_formats import Generative, TokenClassification
from reason_decode.tiny import WEIGHTS, Tiny, load
from tests.tolerance import assert_close, roundings

peft = pytest.importorskip("peft", reason="LoRA needs peft")
pytestmark = pytest.mark.filterwarnings("ignore")  # peft's own

PROMPT, STEPS = "Make 36 from 4 5 6 10.\n", ["10 - 4 = 6 (left: 5 6 6)", "5 * 6 = 30 (left: 6 30)"]


def _adapted(kind: Any, task: str, **options: Any) -> Any:
    shape = {**load().model.config.to_dict(), "num_hidden_layers": 2, **options}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = kind(LlamaConfig.from_dict(shape)).eval()
        config = peft.LoraConfig(task_type=task, r=2, target_modules=["q_proj", "v_proj"])
        adapted = peft.get_peft_model(model, config).eval()
        for name, x in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(x, std=0.3)
    return adapted


def _scorer(name: str, tokenizer: Any, merge: bool) -> Any:
    made: Any = {
        "likelihood": (LlamaForCausalLM, "CAUSAL_LM", {}, LikelihoodScorer),
        "rationale": (LlamaForCausalLM, "CAUSAL_LM", {}, RationaleScorer),
        "generative": (LlamaForCausalLM, "CAUSAL_LM", {}, Generative),
        "prm": (LlamaForTokenClassification, "TOKEN_CLS", {"num_labels": 2}, TokenClassification),
        "orm": (LlamaForSequenceClassification, "SEQ_CLS", {"num_labels": 1}, OutcomeRewardModel),
    }
    kind, task, labels, scorer = made[name]
    model = _adapted(kind, task, **labels)
    model = model.merge_and_unload() if merge else model
    if name == "rationale":
        return scorer(RationaleWriter(model, tokenizer, max_new_tokens=3))
    return scorer(model, tokenizer)


@pytest.mark.numeric
@pytest.mark.parametrize("name", ["likelihood", "rationale", "generative", "prm", "orm"])
def test_scores_equal_those_of_the_merged_model(tiny: Tiny, name: str) -> None:
    """Each of them but the token classifier once ended in an AttributeError."""
    wrapped, merged = (_scorer(name, tiny.tokenizer, merge) for merge in (False, True))
    found, plain = (scorer.score([PROMPT], [STEPS])[0] for scorer in (wrapped, merged))
    assert_close(found, plain, terms=roundings(merged.model))


def test_a_wrapped_model_generates_as_the_merged_one(tiny: Tiny) -> None:
    inputs = tiny.tokenizer([PROMPT], return_tensors="pt")
    best = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=2)
    model = _adapted(LlamaForCausalLM, "CAUSAL_LM")
    said: list[Any] = []
    for generator in (model, model.merge_and_unload()):
        torch.manual_seed(0)
        said.append(
            generator.generate(**inputs, do_sample=True, max_new_tokens=8, custom_generate=best)
        )
    assert torch.equal(*said)


def test_an_adapter_that_is_saved_nowhere_has_no_name(tiny: Tiny, tmp_path: Path) -> None:
    """The model inside is named after its base, which scores otherwise."""
    model = _adapted(LlamaForCausalLM, "CAUSAL_LM")
    model.name_or_path = str(tmp_path)
    with pytest.raises(ValueError, match="with an adapter that is not saved there"):
        hub_id_or_path(LikelihoodScorer(model, tiny.tokenizer).model)


@pytest.mark.numeric
@pytest.mark.parametrize("name", ["prm", "orm"])
def test_a_folder_with_an_adapter_loads_as_its_base_with_it(
    tiny: Tiny, tmp_path: Path, name: str
) -> None:
    """Reward models are published as adapters now; one was once told to merge them first."""
    base, folder = tmp_path / "base", tmp_path / "adapter"
    AutoModelForCausalLM.from_pretrained(WEIGHTS / "base").save_pretrained(base)
    tiny.tokenizer.save_pretrained(base)
    kinds: Any = {
        "prm": (AutoModelForTokenClassification, "TOKEN_CLS", 2, TokenClassification),
        "orm": (AutoModelForSequenceClassification, "SEQ_CLS", 1, OutcomeRewardModel),
    }
    kind, task, labels, scorer = kinds[name]
    config = peft.LoraConfig(task_type=task, r=2, target_modules=["q_proj"])
    adapted = peft.get_peft_model(kind.from_pretrained(base, num_labels=labels), config)
    for key, x in adapted.named_parameters():
        if "lora_B" in key or "score" in key:
            torch.nn.init.normal_(x, std=0.3)
    adapted.save_pretrained(folder)
    loaded = load_scorer(str(folder))
    expected = scorer(adapted.merge_and_unload(), tiny.tokenizer)
    found, plain = (x.score([PROMPT], [STEPS])[0] for x in (loaded, expected))
    assert_close(found, plain, terms=roundings(expected.model))
    assert loaded.settings()["path_or_id"] == str(folder)
    assert type(loaded) is scorer
