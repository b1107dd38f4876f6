import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("peft", reason="NAT needs peft")

from peft import LoraConfig, PeftModel
from safetensors.torch import load_file
from transformers import LlamaForCausalLM

from reason_decode.adapters import active_adapter, add_nat, load_nat
from tests.nat_models import filled, with_nat, with_negative
from tests.tolerance import assert_close, largest, roundings

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
IDS = torch.arange(3, 27).reshape(2, 12)
ROOT = Path(__file__).resolve().parents[2]


@torch.no_grad()
def logits(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    return model(ids).logits


def closed_form(layer: Any, x: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The paper's formula as it is written down, with nothing left out or moved.

    And the scale of what is added up: what is relative to an exponent is absolute in its power.
    """
    y0 = layer.base_layer(x)
    h = {
        name: y0 + layer.scaling[name] * layer.lora_B[name](layer.lora_A[name](x))
        for name in ("nat", "negative")
    }
    q = layer.lora_nat_q["nat"](x)
    k = torch.stack([layer.lora_nat_k["nat"](h[name]) for name in ("nat", "negative")], dim=-2)
    exponents = torch.einsum("...m,...im->...i", q, k)
    attention = exponents.softmax(dim=-1)
    beta = layer.nat_options["nat"]["beta"]
    w_negative = attention[..., 1:] * 2 * beta - beta
    v = {name: layer.lora_nat_v2["nat"](F.gelu(layer.lora_nat_v1["nat"](h[name]))) for name in h}
    y = y0 + (1 - w_negative) * v["nat"] + w_negative * v["negative"]
    return y, largest(y) * max(1.0, largest(exponents))


@pytest.mark.numeric
@pytest.mark.parametrize(("rows", "beta"), [(1, 0.5), (300, 0.5), (7, 1.0)])
def test_every_layer_is_the_formula_of_the_paper(tiny_llama, rows, beta):
    model = with_nat(tiny_llama, torch.float64, beta=beta).double()
    layers = {n: x for n, x in model.named_modules() if hasattr(x, "lora_nat_q")}
    # Query, key (half as wide: grouped queries), value, output, and the three of the MLP.
    assert len(layers) == 14 and {x.out_features for x in layers.values()} == {16, 32, 64}
    for name, layer in list(layers.items())[:7]:
        torch.manual_seed(rows)
        x = torch.randn(1, rows, layer.in_features, dtype=torch.float64)
        found, (expected, scale) = layer(x), closed_form(layer, x)
        terms = sum(max(w.shape) for w in layer.parameters() if w.dim() > 1)
        assert_close(found, expected, terms=terms, scale=scale, msg=name)
        assert (found - layer.base_layer(x)).abs().mean() > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_equals_the_base_before_training_in_any_dtype(tiny_llama, dtype):
    model = with_negative(tiny_llama, dtype)
    with model.disable_adapter():
        base = logits(model)
    assert not torch.equal(logits(model), base)
    add_nat(model, rank=2, gate_dim=6)
    assert torch.equal(logits(model), base)
    filled(model, "nat", 2)
    assert not torch.equal(logits(model), base) and logits(model).dtype == base.dtype


def test_bfloat16_autocast_changes_it_by_rounding_only(tiny_llama):
    layer = with_nat(tiny_llama).get_submodule("base_model.model.model.layers.0.self_attn.v_proj")
    x = torch.randn(1, 100, 32, generator=torch.Generator().manual_seed(0))
    whole = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = layer(x)
    assert rounded.dtype == torch.bfloat16
    assert (rounded - whole).abs().mean() < 0.01 * whole.abs().mean()


def test_only_the_nat_adapter_is_trained(tiny_llama):
    model = with_negative(tiny_llama)
    add_nat(model, rank=2, gate_dim=6, dropout=0.1)
    before = {n: x.clone() for n, x in model.named_parameters()}
    optimizer = torch.optim.Adam([x for x in model.parameters() if x.requires_grad])
    for _ in range(3):
        optimizer.zero_grad()
        model.train()(IDS, labels=IDS).loss.backward()
        optimizer.step()
    changed = {n for n, x in model.named_parameters() if not torch.equal(x, before[n])}
    assert changed == {n for n in before if ".nat." in n}
    parts = {n.split(".")[-3] for n in changed}
    assert parts == {"lora_A", "lora_B", "lora_nat_q", "lora_nat_k", "lora_nat_v1", "lora_nat_v2"}


@pytest.mark.numeric
def test_rows_of_a_batch_may_use_different_adapters(tiny_llama):
    model = with_nat(tiny_llama)
    with torch.no_grad():
        mixed = model(IDS, adapter_names=["nat", "negative"]).logits
    assert_close(mixed[:1], logits(model, IDS[:1]), terms=roundings(model))
    with active_adapter(model, "negative"):
        assert_close(mixed[1:], logits(model, IDS[1:]), terms=roundings(model))


FRESH = """
import sys, torch, warnings
warnings.filterwarnings("ignore")
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from reason_decode.adapters import load_nat
logits = {}
for name in ("float32", "bfloat16"):
    base = AutoModelForCausalLM.from_pretrained(sys.argv[1] + "/base-" + name)
    model = load_nat(base, sys.argv[1] + "/" + name)
    with torch.no_grad():
        logits[name] = model(torch.arange(3, 27).reshape(2, 12)).logits
save_file(logits, sys.argv[1] + "/logits.safetensors")
"""


@pytest.mark.slow
def test_a_new_process_loads_bit_equal_logits(tiny_llama, tmp_path):
    expected = {}
    for name in ("float32", "bfloat16"):
        dtype = getattr(torch, name)
        copy.deepcopy(tiny_llama).to(dtype).save_pretrained(tmp_path / f"base-{name}")
        base = LlamaForCausalLM.from_pretrained(tmp_path / f"base-{name}")
        model = with_nat(base)
        model.save_pretrained(tmp_path / name)
        expected[name] = logits(model)
    path = f"{ROOT}:{ROOT / 'kernels' / 'torch-ext'}"
    threads = str(torch.get_num_threads())
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": threads}
    subprocess.run([sys.executable, "-c", FRESH, str(tmp_path)], env=environment, check=True)
    loaded = load_file(tmp_path / "logits.safetensors")
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_it_can_be_trained_further_after_loading(tiny_llama, tmp_path):
    with_nat(tiny_llama).save_pretrained(tmp_path)
    model = load_nat(copy.deepcopy(tiny_llama), tmp_path, trainable=True)
    assert model.training
    assert all((".nat." in n) == x.requires_grad for n, x in model.named_parameters())
    frozen = load_nat(copy.deepcopy(tiny_llama), tmp_path)
    assert not frozen.training and not any(x.requires_grad for x in frozen.parameters())


def test_stock_loaders_raise_instead_of_giving_wrong_logits(tiny_llama, tmp_path):
    with_nat(tiny_llama).save_pretrained(tmp_path)
    for folder in (tmp_path, tmp_path / "nat"):
        with pytest.raises((KeyError, ValueError), match="load_nat|Can't find"):
            PeftModel.from_pretrained(copy.deepcopy(tiny_llama), folder)
    with pytest.raises(KeyError, match="load_nat"):
        copy.deepcopy(tiny_llama).load_adapter(str(tmp_path / "nat"))
    # The negative one is stock LoRA.
    negative = PeftModel.from_pretrained(copy.deepcopy(tiny_llama), tmp_path / "negative")
    assert torch.equal(logits(negative.eval()), logits(with_negative(tiny_llama)))
    with pytest.raises(ValueError, match="is the config of a LORA adapter, not of NAT"):
        (tmp_path / "nat" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
        load_nat(copy.deepcopy(tiny_llama), tmp_path)


def test_nat_without_its_own_negative_is_an_error(tiny_llama, tmp_path):
    model = with_nat(tiny_llama)
    model.save_pretrained(tmp_path)
    filled(with_negative(tiny_llama), "negative", 7).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="pass that one as negative="):
        load_nat(copy.deepcopy(tiny_llama), tmp_path, negative=tmp_path / "other" / "negative")
    (tmp_path / "negative").rename(tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match="no negative adapter in"):
        load_nat(copy.deepcopy(tiny_llama), tmp_path)
    moved = load_nat(copy.deepcopy(tiny_llama), tmp_path, negative=tmp_path / "moved")
    assert torch.equal(logits(moved), logits(model))
    model.delete_adapter("negative")
    with pytest.raises(ValueError, match="needs the negative adapter 'negative'"):
        logits(model)
    with pytest.raises(FileNotFoundError, match="no NAT adapter in"):
        load_nat(copy.deepcopy(tiny_llama), tmp_path / "moved")


def test_rejects_missing_weights_and_those_of_another_model(tiny_llama, tmp_path):
    with_nat(tiny_llama).save_pretrained(tmp_path)
    config = tmp_path / "nat" / "adapter_config.json"
    saved = json.loads(config.read_text())
    config.write_text(json.dumps({**saved, "nat": {**saved["nat"], "dim": 7}}))
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_nat(copy.deepcopy(tiny_llama), tmp_path)
    config.write_text(json.dumps(saved))
    few = with_negative(tiny_llama, target_modules=["v_proj"])
    add_nat(few, rank=2, gate_dim=6)
    few.save_pretrained(tmp_path / "few")
    (tmp_path / "few" / "nat" / "adapter_model.safetensors").replace(
        tmp_path / "nat" / "adapter_model.safetensors"
    )
    with pytest.raises(ValueError, match="of another model or damaged"):
        load_nat(copy.deepcopy(tiny_llama), tmp_path)


def test_rejects_merging_and_unsupported_models(tiny_llama):
    model = with_nat(tiny_llama)
    before = logits(model)
    for merge in (model.merge_and_unload, model.merge_adapter):
        with pytest.raises(ValueError, match="distill it into plain LoRA"):
            merge()
    assert torch.equal(logits(model), before)
    with pytest.raises(ValueError, match="has an adapter 'nat' already"):
        add_nat(model)
    cases: list[tuple[Any, dict[str, Any], str]] = [
        (copy.deepcopy(tiny_llama), {}, "without the negative adapter 'negative'; it has none"),
        (with_negative(tiny_llama), {"negative": "x"}, "it has negative"),
        (with_negative(tiny_llama), {"gate_dim": 0}, "gate_dim=0"),
        (with_negative(tiny_llama), {"beta": 2}, "beta in"),
        (with_negative(tiny_llama, use_dora=True), {}, "use_dora"),
        (with_negative(tiny_llama, modules_to_save=["lm_head"]), {}, "modules_to_save"),
        (with_negative(tiny_llama, target_modules=["embed_tokens"]), {}, "embeddings"),
    ]
    for given, options, message in cases:
        with pytest.raises(ValueError, match=message):
            add_nat(given, **options)


@pytest.mark.numeric
def test_its_layers_still_accept_stock_adapters(tiny_llama):
    model = with_nat(tiny_llama)
    before = logits(model)
    model.add_adapter("plain", LoraConfig(r=2, target_modules=["q_proj"], use_dora=True))
    model.set_adapter("plain")
    with model.disable_adapter():
        base = logits(model)
    assert_close(logits(model), base, terms=roundings(model))
    model.set_adapter("nat")
    assert torch.equal(logits(model), before)
    ids = model.generate(input_ids=IDS[:1], max_new_tokens=3, do_sample=False)
    assert ids[0, 12] == before[0, -1].argmax()
