"""Namespace of the operators in ``torch.ops``, which the Kernel Hub's build step may replace."""

try:
    # The build step writes this module, so that one process can load two versions.
    from . import _ops  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:
    _ops = None


def add_op_namespace_prefix(op_name: str) -> str:
    """``reason_decode_kernels::op_name``, or with the namespace of the build step."""
    if _ops is None:
        return f"reason_decode_kernels::{op_name}"
    return _ops.add_op_namespace_prefix(op_name)
