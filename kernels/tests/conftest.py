import os
from collections.abc import Iterator

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

if not torch.cuda.is_available():
    # Set before Triton's programs are imported: without a GPU they are interpreted.
    os.environ.setdefault("TRITON_INTERPRET", "1")


class LargestStorage(TorchDispatchMode):
    """Records the bytes of the largest new storage that an operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        inputs = {
            leaf.untyped_storage().data_ptr()
            for leaf in tree_leaves((args, kwargs))
            if isinstance(leaf, torch.Tensor)
        }
        for leaf in tree_leaves(result):
            # A view of an input takes no memory.
            if isinstance(leaf, torch.Tensor) and leaf.untyped_storage().data_ptr() not in inputs:
                self.bytes = max(self.bytes, leaf.untyped_storage().nbytes())
        return result


@pytest.fixture
def largest_storage() -> Iterator[LargestStorage]:
    with LargestStorage() as mode:
        yield mode


@pytest.fixture(params=["torch", "triton"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "triton":
        pytest.importorskip("triton", reason="Triton is not installed")
    return request.param


@pytest.fixture
def device(backend: str) -> str:
    """Device to test a backend on; Triton's interpreter runs on the CPU."""
    return "cuda" if backend == "triton" and torch.cuda.is_available() else "cpu"
