import copy

import pytest
import torch

pytest.importorskip("peft", reason="adapters need peft")

from reason_decode.adapters import active_adapter
from tests.nat_models import with_nat, with_negative

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
IDS = torch.arange(3, 15)[None]


def test_the_active_adapter_and_requires_grad_are_restored(tiny_llama):
    model = with_nat(tiny_llama)
    negative = with_negative(tiny_llama)(IDS).logits
    before, learns = model(IDS).logits, [x.requires_grad for x in model.parameters()]
    with active_adapter(model, "negative"):
        assert torch.equal(model(IDS).logits, negative)
        with active_adapter(model, "nat"):
            assert torch.equal(model(IDS).logits, before)
        assert torch.equal(model(IDS).logits, negative)
    assert torch.equal(model(IDS).logits, before)
    assert learns == [x.requires_grad for x in model.parameters()] and True in learns
    with pytest.raises(ZeroDivisionError), active_adapter(model, "negative"):
        raise ZeroDivisionError
    assert torch.equal(model(IDS).logits, before)


def test_disabled_adapters_are_disabled_again(tiny_llama):
    model = with_negative(tiny_llama)
    with model.disable_adapter():
        base, learns = model(IDS).logits, [x.requires_grad for x in model.parameters()]
        with active_adapter(model, "negative"):
            assert not torch.equal(model(IDS).logits, base)
        assert torch.equal(model(IDS).logits, base)
        assert learns == [x.requires_grad for x in model.parameters()]


def test_activates_adapters_that_transformers_loaded(tiny_llama, tmp_path):
    with_nat(tiny_llama).save_pretrained(tmp_path)
    model = copy.deepcopy(tiny_llama)
    model.load_adapter(str(tmp_path / "negative"), "first")
    with active_adapter(model.eval(), "first"):
        assert torch.equal(model(IDS).logits, with_negative(tiny_llama)(IDS).logits)


def test_rejects_missing_and_merged_adapters(tiny_llama):
    model = with_negative(tiny_llama)
    with pytest.raises(ValueError, match="got adapter='nat'; the model has negative"):
        active_adapter(model, "nat").__enter__()
    with pytest.raises(ValueError, match="the model has no adapter"):
        active_adapter(tiny_llama, "nat").__enter__()
    model.merge_adapter()
    with pytest.raises(ValueError, match="'?negative'? is merged into the base"):
        active_adapter(model, "negative").__enter__()
