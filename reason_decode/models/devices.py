"""The devices that models run on, and the dtype that they train in."""

import time
from functools import lru_cache
from pathlib import Path

import torch

__all__ = ["default_device", "free_memory", "has_native_bf16", "is_fast_on_cpu"]

# Shape of the probe: the rows of a batch through a small layer, as in decoding.
_ROWS, _WIDTH, _REPEATS = 32, 512, 6
# Half the bytes should take at most as long. Emulated, they take several times as long.
_MAX_SLOWDOWN = 1.5


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


@lru_cache
def is_fast_on_cpu(dtype: torch.dtype) -> bool:
    """True if this CPU multiplies matrices of a dtype about as fast as those of float32.

    Measured once a process, in milliseconds: CPUs with instructions for bfloat16 differ in how fast
    they are, and those without emulate it.

    Args:
        dtype: such as bfloat16 or float16.
    """
    if dtype == torch.float32:
        return True
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other would measure the machine's load
    try:
        times = {
            kind: min(_seconds(kind) for _ in range(_REPEATS)) for kind in (dtype, torch.float32)
        }
    finally:
        torch.set_num_threads(threads)
    return times[dtype] < _MAX_SLOWDOWN * times[torch.float32]


def _seconds(dtype: torch.dtype) -> float:
    """Time of a matrix product of a few rows, in which other processes do not count."""
    rows, weight = torch.ones(_ROWS, _WIDTH, dtype=dtype), torch.ones(_WIDTH, _WIDTH, dtype=dtype)
    start = time.thread_time()
    torch.nn.functional.linear(rows, weight)
    return time.thread_time() - start


def free_memory() -> int | None:
    """Bytes of main memory that can be used without swapping; ``None`` where nobody says.

    Linux says it for the machine and, in a container, for its limit. A CPU that runs out of memory
    raises no error there: the process is killed.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(x.split()[1]) * 1024 for x in lines if x.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None
    try:
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        return min(free, limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return free
