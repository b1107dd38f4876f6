"""The device and the dtype that a model runs with."""

import torch
from transformers import PreTrainedModel


def has_native_bf16() -> bool:
    """Whether what trains here multiplies in bfloat16, and does not imitate it, many times slower.

    torch tells of processors only privately.
    """
    return torch.accelerator.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def default_device() -> torch.device:
    """The accelerator of this machine, or the CPU where there is none."""
    return torch.accelerator.current_accelerator() or torch.device("cpu")


def input_device(model: PreTrainedModel) -> torch.device:
    """Where a model takes its inputs.

    Of a model whose first layer is kept elsewhere and brought in when it is called (accelerate's
    offloading) the parameters have no device; its hooks then take inputs from the CPU.
    """
    device = torch.device(model.device)
    return torch.device("cpu") if device.type == "meta" else device
