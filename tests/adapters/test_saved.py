import copy

import pytest
import torch

pytest.importorskip("peft", reason="adapters need peft")
from peft import PeftModel

from reason_decode.adapters import load_adapter, sum_adapters
from tests.nat_models import filled, with_nat, with_negative
from tests.tolerance import assert_close, largest

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
X = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
LAYER = "base_model.model.model.layers.0.self_attn.v_proj"


@pytest.mark.numeric
def test_the_sum_of_adapters_adds_their_outputs(tiny_llama, tmp_path):
    first = with_negative(tiny_llama)
    second = filled(with_negative(tiny_llama, r=2, lora_alpha=6), "negative", 5)
    for name, model in (("a", first), ("b", second)):
        model.save_pretrained(tmp_path / name)
    a, b = tmp_path / "a" / "negative", tmp_path / "b" / "negative"
    summed = sum_adapters(copy.deepcopy(tiny_llama), {a: 2.0, b: -1.0})
    assert list(summed.peft_config) == ["default"] and summed.peft_config["default"].r == 5
    base, *parts = (
        model.get_submodule(name)(X)
        for model, name in ((first, f"{LAYER}.base_layer"), (first, LAYER), (second, LAYER))
    )
    found = summed.get_submodule(LAYER)(X)
    expected = base + 2 * (parts[0] - base) - (parts[1] - base)
    # The base's width, and the ranks of both, which are added and taken away.
    scale = 3 * largest(base) + 2 * largest(parts[0]) + largest(parts[1])
    assert_close(found, expected, terms=32, scale=scale)
    # It is stock LoRA.
    summed.save_pretrained(tmp_path / "sum")
    stock = PeftModel.from_pretrained(copy.deepcopy(tiny_llama), tmp_path / "sum").eval()
    assert torch.equal(stock.get_submodule(LAYER)(X), found)
    with pytest.raises(ValueError, match="no adapter to sum"):
        sum_adapters(copy.deepcopy(tiny_llama), {})


def test_loads_nat_and_plain_adapters(tiny_llama, tmp_path):
    model = with_nat(tiny_llama)
    model.save_pretrained(tmp_path)
    for folder, name in ((tmp_path, "nat"), (tmp_path / "negative", "default")):
        found = load_adapter(copy.deepcopy(tiny_llama), folder)
        assert found.active_adapter == name and not found.training
        assert not any(x.requires_grad for x in found.parameters())
    with pytest.raises(ValueError, match="Can't find"):
        load_adapter(copy.deepcopy(tiny_llama), tmp_path / "elsewhere")
