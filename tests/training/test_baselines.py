import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

pytest.importorskip("peft", reason="baselines need peft")
pytest.importorskip("accelerate", reason="training needs accelerate")
from safetensors.torch import load_file

from reason_decode import tiny
from reason_decode.adapters import load_adapter, sum_adapters
from reason_decode.training import (
    BaselineConfig,
    LabelledSolution,
    NATConfig,
    train_baseline,
    train_nat,
)
from tests.random_models import save_llama
from tests.tolerance import assert_close, roundings

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
ROOT = Path(__file__).resolve().parents[2]
FAST: dict[str, Any] = {"num_train_epochs": 2, "batch_size": 4, "learning_rate": 3e-3}
RIGHT = [LabelledSolution(f"{a} + 1 =\n", (f"{a} + 1 = {a + 1}",), (1,)) for a in range(8)]
WRONG = [
    LabelledSolution(f"{a} + 1 =\n", (f"{a} + 1 = {a + b}",), (-1,))
    for a in range(6)
    for b in (2, 3)
]
IDS = torch.arange(3, 27).reshape(2, 12)


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(IDS).logits


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return save_llama(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def trained(base, tmp_path_factory):
    """Trains by a method into a folder of its own; returns the folder and the counts."""

    def train(right=RIGHT, wrong=WRONG, **options: Any) -> tuple[Path, dict[str, Any]]:
        folder = tmp_path_factory.mktemp(options["method"])
        config = BaselineConfig(**{**FAST, "lora_rank": 2, "lora_dropout": 0.0, **options})
        tokenizer = tiny.load().tokenizer
        return folder, train_baseline(base, tokenizer, right, wrong, folder, config)

    return train


@pytest.fixture(scope="module")
def plain(trained) -> Path:
    return trained(method="cot-kd")[0]


def loaded(base: Path, folder: Path) -> torch.Tensor:
    return logits(load_adapter(AutoModelForCausalLM.from_pretrained(base), folder))


@pytest.mark.parametrize(
    "options",
    [
        {"method": "nt"},
        {"method": "ul"},
        {"method": "ul", "unlikelihood_level": "sequence"},
        {"method": "cl"},
    ],
    ids=lambda x: "-".join(x.values()),
)
def test_a_penalty_of_weight_0_is_cot_kd(base, plain, trained, options):
    expected = loaded(base, plain)
    nothing, result = trained(penalty_weight=0.0, negatives_per_positive=2, **options)
    terms = roundings(AutoModelForCausalLM.from_pretrained(base))
    assert_close(loaded(base, nothing), expected, terms=terms)
    # An epoch is of right samples, and only their tokens are counted.
    assert result["examples"] == 8 and result["steps"] == 4
    something, _ = trained(penalty_weight=200.0, **options)
    assert not torch.allclose(loaded(base, something), expected, atol=1e-3)


def test_mix_and_ft_are_cot_kd_on_other_samples(base, plain, trained):
    mix, result = trained(method="mix")
    both, _ = trained([*RIGHT, *WRONG], (), method="cot-kd")
    assert result["examples"] == 20
    assert torch.equal(loaded(base, mix), loaded(base, both))
    reference, _ = trained(wrong=(), method="ft")
    assert torch.equal(loaded(base, reference), loaded(base, plain))


def test_the_mean_is_over_the_tokens_of_right_solutions(trained):
    """Prompts, padding and wrong samples are read, and are no part of what the mean is over."""
    _, result = trained(
        RIGHT[:1], [LabelledSolution("10000 + 1 =\n", ("10000",), (-1,))], method="nt"
    )
    assert result["labels"] == len("0 + 1 = 1".split()) + len(["newline", "end"])


@pytest.mark.slow
def test_penalties_make_wrong_samples_less_likely(base, trained):
    """Of the same wrong samples, those taken from mix are likelier, from nt and ul less likely."""
    found = {}
    options: dict[str, Any] = {"num_train_epochs": 8, "learning_rate": 0.03}
    for method in ("cot-kd", "mix", "nt"):
        folder, _ = trained(method=method, penalty_weight=1.0, **options)
        found[method] = likelihood(load_adapter(AutoModelForCausalLM.from_pretrained(base), folder))
    for level in ("token", "sequence"):
        # The gradient of log(1 - p) is as small as p, about 1 / 327.
        folder, _ = trained(method="ul", unlikelihood_level=level, penalty_weight=100.0, **options)
        found[level] = likelihood(load_adapter(AutoModelForCausalLM.from_pretrained(base), folder))
    assert max(found["nt"], found["token"], found["sequence"]) < found["cot-kd"] < found["mix"]


@torch.no_grad()
def likelihood(model: Any) -> float:
    """Mean log-probability a token of the wrong samples' text."""
    tokenizer, total = tiny.load().tokenizer, 0.0
    for x in WRONG:
        ids = torch.tensor(
            [[1, *tokenizer(x.prompt + x.steps[0], add_special_tokens=False)["input_ids"]]]
        )
        total -= float(model(ids, labels=ids).loss)
    return total / len(WRONG)


FRESH = """
import sys, torch, warnings
warnings.filterwarnings("ignore")
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from reason_decode.adapters import load_adapter
logits = {}
for folder in sys.argv[3:]:
    model = load_adapter(AutoModelForCausalLM.from_pretrained(sys.argv[2]), folder)
    with torch.no_grad():
        logits[folder] = model(torch.arange(3, 27).reshape(2, 12)).logits
save_file(logits, sys.argv[1])
"""


@pytest.mark.slow
def test_a_new_process_loads_bit_equal_logits(base, plain, trained, tmp_path):
    tokenizer = tiny.load().tokenizer
    folders = [plain, *(trained(method=x)[0] for x in ("mix", "nt", "ul", "cl")), tmp_path / "sum"]
    summed = sum_adapters(
        AutoModelForCausalLM.from_pretrained(base), {plain: 2.0, folders[1]: -1.0}
    )
    summed.save_pretrained(tmp_path / "sum")
    # The control: a second positive adapter where NAT has the negative one.
    config = NATConfig(negative=str(folders[2]), lora_rank=2, gate_dim=4, **FAST)
    train_nat(base, tokenizer, RIGHT, tmp_path / "nat", config)
    folders.append(tmp_path / "nat")
    expected = {str(folder): loaded(base, folder) for folder in folders}
    assert_close(expected[str(tmp_path / "sum")], logits(summed), terms=roundings(summed))
    assert len({float(x.sum()) for x in expected.values()}) == len(folders)
    path = f"{ROOT}:{ROOT / 'kernels' / 'torch-ext'}"
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-c", FRESH, str(tmp_path / "logits"), str(base), *map(str, folders)]
    subprocess.run(command, env=environment, check=True)
    fresh = load_file(tmp_path / "logits")
    assert all(torch.equal(fresh[name], x) for name, x in expected.items())


def test_rejects_invalid_arguments_before_training(trained):
    cases = [
        ({"method": "kd"}, "got method='kd'; allowed are 'ft', 'cot-kd', 'mix', 'cl', 'nt', 'ul'"),
        ({"method": "ul", "unlikelihood_level": "x"}, "allowed are 'token', 'sequence'"),
        ({"method": "nt", "penalty_weight": -1}, "penalty_weight=-1; it must be at least 0"),
    ]
    for wrong, message in cases:
        with pytest.raises(ValueError, match=message):
            trained(**wrong)
    with pytest.raises(ValueError, match="no wrong sample, which mix learns from"):
        trained(wrong=(), method="mix")
    with pytest.raises(ValueError, match="temperature=0; it must be positive"):
        trained(method="cl", temperature=0)
