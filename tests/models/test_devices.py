import pytest
import torch

from reason_decode.models.devices import default_device, has_native_bf16


@pytest.mark.parametrize("present", [True, False])
def test_the_default_device_is_an_accelerator_only_where_there_is_one(monkeypatch, present):
    # On a machine without a GPU, a torch that was built for CUDA names "cuda" as its current
    # accelerator: models were moved there, and loading one failed.
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: present)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    assert default_device() == torch.device("cuda" if present else "cpu")


def test_accelerators_have_bf16(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    assert has_native_bf16()
