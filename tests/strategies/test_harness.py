"""Strategies under lm-evaluation-harness, through its ``hf`` model."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reason_decode import BestOfN, StepSearch
from reason_decode.tiny import Tiny

lm_eval: Any = pytest.importorskip(
    "lm_eval", reason="pip install 'reason-decode[harness]' to run strategies under lm-eval"
)

PROMPTS = ["((1 + 2) * (3 - 4)) =\n", "Make 11 from 1 2 3 4.\n", "((5 - 2) * (3 + 4)) =\n"]
TASK = """
task: ours
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: generate_until
doc_to_text: "{{{{prompt}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs:
  until: ["Q:"]
  max_gen_toks: 60
metric_list:
  - metric: exact_match
"""


@pytest.fixture(autouse=True)
def own_caches(own_modules: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


def _answers(model: Any, folder: Path, **how: Any) -> list[str]:
    """What the harness has the model say to each prompt."""
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps({"prompt": p, "answer": "3"}) + "\n" for p in PROMPTS))
    (folder / "ours.yaml").write_text(TASK.format(data=data))
    manager = pytest.importorskip("lm_eval.tasks").TaskManager
    tasks = manager(include_path=str(folder), include_defaults=False)
    torch.manual_seed(0)
    out = lm_eval.simple_evaluate(
        model=model, tasks=["ours"], task_manager=tasks, bootstrap_iters=0, gen_kwargs=how
    )
    samples = sorted(out["samples"]["ours"], key=lambda sample: sample["doc_id"])
    return [sample["resps"][0][0] for sample in samples]


@pytest.fixture
def harness_model(tiny: Tiny) -> Any:
    wrap = pytest.importorskip("lm_eval.models.huggingface").HFLM
    return wrap(pretrained=tiny.model, tokenizer=tiny.tokenizer, batch_size=2, device="cpu")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("strategy", [BestOfN, StepSearch])
def test_one_candidate_answers_as_without(
    tiny: Tiny, harness_model: Any, tmp_path: Path, strategy: Any
) -> None:
    one = strategy(tiny.prm, tokenizer=tiny.tokenizer, n=1)
    plain = _answers(harness_model, tmp_path, do_sample=False)
    assert _answers(harness_model, tmp_path, do_sample=False, custom_generate=one) == plain


@pytest.mark.filterwarnings("ignore")
def test_a_saved_strategy_is_named_by_its_folder(
    tiny: Tiny, harness_model: Any, tmp_path: Path
) -> None:
    """As ``--gen_kwargs custom_generate=FOLDER,trust_remote_code=True`` does."""
    BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=4).save_pretrained(tmp_path / "best")
    how = {"do_sample": True, "temperature": 0.8}
    direct = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=4)
    assert _answers(
        harness_model,
        tmp_path,
        custom_generate=str(tmp_path / "best"),
        trust_remote_code=True,
        **how,
    ) == _answers(harness_model, tmp_path, custom_generate=direct, **how)
