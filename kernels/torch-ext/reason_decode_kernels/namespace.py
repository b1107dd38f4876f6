"""The name that our operators have among torch's, which the Kernel Hub's build step decides."""

try:
    # Written by the build step: two versions of these kernels may then live in one process.
    from . import _ops  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:
    _ops = None


def add_op_namespace_prefix(op_name: str) -> str:
    """``reason_decode_kernels::op_name``, or what the build step puts before the colons."""
    if _ops is None:
        return f"reason_decode_kernels::{op_name}"
    return _ops.add_op_namespace_prefix(op_name)
