"""datatrove's executors: run the shards of a command as tasks in several processes or machines."""

import subprocess
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from reason_decode.runs.options import Executor, RunOptions
from reason_decode.runs.shards import inherited_environment, shard_command

__all__ = ["load_executor", "run_tasks"]

_CLASSES: dict[Executor, tuple[str, str]] = {
    "local": ("datatrove.executor.local", "LocalPipelineExecutor"),
    "ray": ("datatrove.executor.ray", "RayPipelineExecutor"),
    "slurm": ("datatrove.executor.slurm", "SlurmPipelineExecutor"),
}
_DEFAULTS: dict[Executor, dict[str, Any]] = {
    # Forking a process that has loaded torch can deadlock its threads; the fork server has not.
    "local": {"start_method": "forkserver"},
    # datatrove reserves 2 GB a task and waits for ever, silently, where they are not free.
    "ray": {"mem_per_cpu_gb": 0},
}


def load_executor(name: Executor) -> Any:
    """Class of a datatrove executor, with defaults that are safe beside torch.

    Args:
        name: the executor's name.

    Raises:
        ModuleNotFoundError: datatrove, or Ray for its executor, is not installed.
    """
    module, cls = _CLASSES[name]
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"--executor {name} needs datatrove: pip install 'reason-decode[distributed]'"
        ) from error
    if name == "ray":
        try:
            ray: Any = import_module("ray")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("--executor ray needs Ray: pip install ray") from error
        if not ray.is_initialized():
            ray.init(log_to_driver=False)  # the cluster of RAY_ADDRESS, else one of this machine
    return partial(getattr(found, cls), **_DEFAULTS.get(name, {}))


def run_tasks(command: Sequence[str], options: RunOptions, folder: Path) -> bool:
    """Run each shard of a command as a task of an executor; return whether the tasks have ended.

    Slurm's jobs are submitted and not waited for.

    Args:
        command: see ``shard_command``.
        options: ``executor``, ``executor_options`` and ``workers``, the number of tasks.
        folder: where datatrove writes its logs.

    Raises:
        ModuleNotFoundError: see ``load_executor``.
        OSError: a shard failed; the results of all shards are kept.
    """
    assert options.executor is not None
    make = load_executor(options.executor)
    arguments = {"tasks": options.workers, "logging_dir": str(folder.absolute() / "logs")}
    # A task that datatrove calls complete may hold items that failed and are tried again.
    arguments |= {"skip_completed": False, **options.executor_options}
    make(pipeline=[partial(_run_task, tuple(command))], **arguments).run()
    return options.executor != "slurm"


def _run_task(command: Sequence[str], data: Any, rank: int = 0, world_size: int = 1) -> None:
    """Step of a datatrove pipeline: run the command's shard of this rank."""
    status = subprocess.call(
        shard_command(command, rank + 1, world_size), env=inherited_environment()
    )
    if status not in (0, 1):
        raise OSError(f"shard {rank + 1} of {world_size} failed ({status}); its log says why")
