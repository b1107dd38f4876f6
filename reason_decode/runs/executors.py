"""datatrove's executors, which run the parts of a command in several processes or machines."""

from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["EXECUTORS", "executor", "run_shards"]

EXECUTORS = {
    "local": ("datatrove.executor.local", "LocalPipelineExecutor"),
    "ray": ("datatrove.executor.ray", "RayPipelineExecutor"),
    "slurm": ("datatrove.executor.slurm", "SlurmPipelineExecutor"),
}
HOW: dict[str, dict[str, Any]] = {
    # Processes are forked from one that has loaded nothing: safe beside torch's threads.
    "local": {"start_method": "forkserver"},
    # A part for which the 2 GB that datatrove reserves are not free waits for ever, silently.
    "ray": {"mem_per_cpu_gb": 0},
}


def executor(kind: str) -> Any:
    """What makes an executor of a kind.

    Raises:
        ModuleNotFoundError: datatrove, or Ray for its executor, is not installed.
    """
    module, name = EXECUTORS[kind]
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"--executor {kind} needs datatrove: pip install 'reason-decode[distributed]'"
        ) from error
    if kind == "ray":
        try:
            ray: Any = import_module("ray")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("--executor ray needs Ray: pip install ray") from error
        if not ray.is_initialized():
            ray.init(log_to_driver=False)  # the cluster of RAY_ADDRESS; else one of this machine
    return partial(getattr(found, name), **HOW.get(kind, {}))


def run_shards(args: Namespace, folder: Path) -> bool:
    """Run the command's shards as tasks of an executor; whether they have ended.

    Slurm's jobs are only submitted.

    Args:
        args: the command's: ``executor``, ``executor_options``, ``workers``, ``argv``.
        folder: gets datatrove's logs.

    Raises:
        ModuleNotFoundError: see ``executor``.
        OSError: a shard failed; what it has done is kept.
    """
    make = executor(args.executor)
    options = {"tasks": args.workers, "logging_dir": str(folder.absolute() / "logs")}
    # What datatrove calls complete may have items that are to be tried again.
    options |= {"skip_completed": False, **args.executor_options}
    make(pipeline=[partial(_shard, tuple(args.argv))], **options).run()
    return args.executor != "slurm"


def _shard(argv: Sequence[str], data: Any, rank: int = 0, world_size: int = 1) -> None:
    """A step of a datatrove pipeline: the command's shard of this rank."""
    main = import_module("reason_decode.cli").main
    status = main([*argv, "--no-restart", "--workers", "1", "--shard", f"{rank + 1}/{world_size}"])
    if status not in (0, 1):
        raise OSError(f"shard {rank + 1} of {world_size} failed ({status}); its log says why")
