import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("peft", reason="adapters need peft")

from examples.tiny import export
from reason_decode import tiny as package
from reason_decode.adapters import load_adapter
from reason_decode.tiny import WEIGHTS, Tiny
from tests.nat_models import filled, with_nat

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
IDS = torch.arange(3, 19).reshape(2, 8)
NAMES = ("negative", "nat", "nce")
PRINT_LOGITS = """
import sys, torch
from reason_decode import tiny
t = tiny.load()
ids = torch.tensor(eval(sys.argv[2]))
with torch.no_grad():
    torch.save([getattr(t, name)(ids).logits for name in ("negative", "nat", "nce")], sys.argv[1])
"""


@torch.no_grad()
def logits_of(model: Any) -> torch.Tensor:
    return model(IDS).logits


def test_exported_adapters_equal_the_trained_ones_in_float16(
    tiny_llama: Any, tmp_path: Path
) -> None:
    model = with_nat(tiny_llama)
    model.save_pretrained(tmp_path / "trained")
    folders = {name: tmp_path / "trained" / name for name in ("negative", "nat")}
    export.adapters(tmp_path / "out", folders)
    halves = load_file(tmp_path / "out" / "nat" / "adapter_model.safetensors")
    assert {x.dtype for x in halves.values()} == {torch.float16}
    for name, x in model.named_parameters():
        if "lora_" in name:
            x.data.copy_(x.data.half())
    found = load_adapter(copy.deepcopy(tiny_llama), tmp_path / "out")
    assert torch.equal(logits_of(found), logits_of(model))
    model.set_adapter("negative")
    found = load_adapter(copy.deepcopy(tiny_llama), tmp_path / "out" / "negative")
    assert torch.equal(logits_of(found), logits_of(model))
    # The config names neither the training machine nor a version of peft.
    kept = json.loads((tmp_path / "out" / "negative" / "adapter_config.json").read_text())
    assert kept["base_model_name_or_path"] == "reason-decode tiny base" and len(kept) < 10


@pytest.mark.slow
def test_packaged_adapters_give_equal_logits_in_a_fresh_process(tiny: Tiny, tmp_path: Path) -> None:
    before = logits_of(tiny.model)
    kept = [logits_of(getattr(tiny, name)) for name in NAMES]
    command = [sys.executable, "-c", PRINT_LOGITS, str(tmp_path / "logits.pt"), str(IDS.tolist())]
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run(command, env=environment, check=True)
    for name, x, fresh in zip(NAMES, kept, torch.load(tmp_path / "logits.pt"), strict=True):
        assert torch.equal(x, fresh), name
        assert (x - before).abs().max() > 0.1, name
    assert torch.equal(logits_of(tiny.model), before)


def test_packaged_adapters_write_answers(tiny: Tiny) -> None:
    inputs = tiny.tokenizer(["Make 36 from 4 5 6 10.\n"], return_tensors="pt")
    for name in ("nat", "nce"):
        output = getattr(tiny, name).generate(**inputs, max_new_tokens=64)
        assert "Answer: (10 - 5 + 4) * 6 = 36\n" in tiny.tokenizer.decode(output[0])


def test_packaged_nat_is_refused_with_another_negative_adapter(tiny: Tiny, tmp_path: Path) -> None:
    other = filled(
        load_adapter(copy.deepcopy(tiny.model), WEIGHTS / "adapters" / "nce"), "default", 0
    )
    other.save_pretrained(tmp_path)
    from reason_decode.adapters import load_nat

    with pytest.raises(ValueError, match="NAT was trained with"):
        load_nat(copy.deepcopy(tiny.model), WEIGHTS / "adapters", negative=tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_missing_adapters_name_the_training_command(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(package, "WEIGHTS", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"benchmarks\.papers\.dust --export"):
        getattr(replace(tiny), name)
