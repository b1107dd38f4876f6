"""Command lines and environments of the processes that run one shard each."""

import os
import sys
from collections.abc import Sequence

__all__ = ["inherited_environment", "shard_command"]


def shard_command(command: Sequence[str], index: int, count: int) -> list[str]:
    """Arguments of the process that runs one shard of a command.

    Args:
        command: arguments of ``python`` that run all shards: ``["-m", "reason_decode", ...]``. The
            command has the options ``--shard``, ``--workers`` and ``--no-restart``.
        index: the shard, from 1.
        count: number of shards.
    """
    options = ["--no-restart", "--workers", "1", "--shard", f"{index}/{count}"]
    return [sys.executable, *command, *options]


def inherited_environment() -> dict[str, str]:
    """Environment of this process, from which a child imports the same modules."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
