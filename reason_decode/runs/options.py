"""Options of a run: the shard that this process runs, worker processes, starting over."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

__all__ = ["SINGLE_SHARD", "Executor", "RunOptions", "Shard"]

Executor = Literal["local", "ray", "slurm"]
"""datatrove's executors: processes of this machine, a Ray cluster, Slurm jobs."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``count`` shards of a run: the batches ``index``, ``index + count``, and so on.

    Args:
        index: from 1 to ``count``.
        count: number of shards, at least 1.

    Raises:
        ValueError: the index is not from 1 to ``count``.

    Examples:
        >>> Shard.parse("2/8")
        Shard(index=2, count=8)
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"got shard {self}; need I/N from 1/N to N/N, such as 1/4")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The shard that ``I/N`` names.

        Raises:
            ValueError: the text is not ``I/N`` with I from 1 to N.
        """
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if match is None:
            raise ValueError(f"got shard {text!r}; need I/N from 1/N to N/N, such as 1/4")
        return cls(int(match[1]), int(match[2]))


SINGLE_SHARD = Shard(1, 1)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of a run: its shard, its processes, and whether it starts over.

    Args:
        shard: the batches that this process runs. A run of the single shard joins the results of
            all shards.
        workers: processes on this machine, or tasks of ``executor``, that run one shard each.
        executor: datatrove's executor that runs the workers; ``None``: processes of this machine.
        executor_options: keyword arguments of that executor, such as ``{"partition": "gpu"}``.
        restart: delete the results that an earlier run of the same output left.

    Raises:
        ValueError: an option is out of range, or two of them exclude each other.

    Examples:
        >>> RunOptions(shard=Shard(2, 8)).is_divided
        True
    """

    shard: Shard = SINGLE_SHARD
    workers: int = 1
    executor: Executor | None = None
    executor_options: Mapping[str, Any] = field(default_factory=dict)
    restart: bool = False

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"got workers={self.workers}; need at least 1")
        if self.executor is not None and self.executor not in get_args(Executor):
            known = ", ".join(get_args(Executor))
            raise ValueError(f"got executor={self.executor!r}; need one of {known}")
        if not isinstance(self.executor_options, Mapping):
            raise ValueError(
                f"got executor_options={self.executor_options!r:.80}; need an object of keyword "
                'arguments, such as {"partition": "gpu"}'
            )
        if self.executor is not None and self.workers == 1 and self.shard == SINGLE_SHARD:
            raise ValueError(
                f"got executor={self.executor} without workers; give the number of its tasks as "
                "workers (--workers N)"
            )
        for name, given in (("workers", self.workers > 1), ("restart", self.restart)):
            if given and self.shard.count > 1:
                raise ValueError(f"got shard {self.shard} and {name}; give {name} without a shard")

    @property
    def is_divided(self) -> bool:
        """True if several processes share the run."""
        return self.workers > 1 or self.shard.count > 1
