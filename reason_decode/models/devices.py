"""The devices that models run on, and the dtype that they train in."""

import torch

__all__ = ["default_device", "has_native_bf16"]


def default_device() -> torch.device:
    """The accelerator of this machine (CUDA, MPS, XPU, ...), or the CPU if there is none."""
    # current_accelerator() alone names what torch was built for, present or not.
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def has_native_bf16() -> bool:
    """True if the default device multiplies bfloat16 in hardware.

    A CPU without such instructions emulates them, many times slower than float32.
    """
    # torch exposes this property of a CPU only privately.
    return torch.accelerator.is_available() or torch.ops.mkldnn._is_mkldnn_bf16_supported()
