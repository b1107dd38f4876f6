"""The Kernel Hub's build step copies the package and gives its operators another namespace."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest
import reason_decode_kernels
import torch

OPS = """
def add_op_namespace_prefix(op_name):
    return f"_reason_decode_kernels_0abc::{op_name}"
"""


def test_a_built_copy_works_beside_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Loads it by its path, as ``kernels.get_local_kernel`` does, which is not installed here."""
    built = tmp_path / "build" / "torch-cpu"
    source = Path(reason_decode_kernels.__file__).parent
    shutil.copytree(source, built, ignore=shutil.ignore_patterns("__pycache__"))
    (built / "_ops.py").write_text(OPS)
    spec = importlib.util.spec_from_file_location("built_copy", built / "__init__.py")
    assert spec is not None and spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "built_copy", copy)
    spec.loader.exec_module(copy)
    assert copy.__all__ == reason_decode_kernels.__all__
    hidden, weight, targets = torch.ones(2, 3), torch.eye(4, 3), torch.tensor([0, 3])
    assert torch.equal(
        copy.linear_token_logprobs(hidden, weight, targets),
        reason_decode_kernels.linear_token_logprobs(hidden, weight, targets),
    )
    namespace = torch.ops._reason_decode_kernels_0abc
    assert callable(namespace.linear_token_logprobs) and callable(namespace.token_logprobs)
