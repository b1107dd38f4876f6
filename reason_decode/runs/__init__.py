"""Runs of many items that resume after a kill, in shards and in several processes.

A command or script with many items opens a ``ResumableRun`` beside its output:

```python
from reason_decode.runs import Batches, ResumableRun, RunOptions, item_indices, run_settings

prompts = ["1 + 1 =", "2 + 2 ="]
settings = run_settings({"seed": 0}, items=prompts)
run = ResumableRun("out.json", settings, item_indices, len(prompts), RunOptions())


def count(batch):
    return {"items": list(batch), "lengths": [len(prompts[k]) for k in batch]}


with run:
    for _, row in Batches(range(len(prompts)), 1, count, done=run.done):
        run.append(row)
    rows = list(run.rows())
    run.finish()
```

- `ResumableRun` keeps a journal per shard in the folder ``OUT.run``. A run that was killed at any
  moment resumes; a run with other settings, a second process on the same journal, and files that
  are not its own are refused.
- `Batches` runs the items that are not done, halves a batch when memory runs out, and lists items
  that fail alone.
- `RunOptions` says which shard this process runs, in how many processes, and whether to start over.
- `run_settings` collects all that the results depend on: options, fingerprints of model folders, a
  hash of the items.
- `run_workers` runs the shards of a command in processes of this machine, one per GPU, or as tasks
  of datatrove's executors (Ray, Slurm).
"""

from typing import TYPE_CHECKING

from reason_decode.core.lazy import lazy_imports

if TYPE_CHECKING:
    from reason_decode.runs.batches import Batches, FailedItem, print_failures
    from reason_decode.runs.options import RunOptions, Shard
    from reason_decode.runs.resumable import ResumableRun, item_indices
    from reason_decode.runs.settings import folder_fingerprint, run_settings
    from reason_decode.runs.workers import run_workers

__all__ = [
    "Batches",
    "FailedItem",
    "ResumableRun",
    "RunOptions",
    "Shard",
    "folder_fingerprint",
    "item_indices",
    "print_failures",
    "run_settings",
    "run_workers",
]

__getattr__, __dir__ = lazy_imports(
    __name__,
    {
        "reason_decode.runs.batches": ("Batches", "FailedItem", "print_failures"),
        "reason_decode.runs.options": ("RunOptions", "Shard"),
        "reason_decode.runs.resumable": ("ResumableRun", "item_indices"),
        "reason_decode.runs.settings": ("folder_fingerprint", "run_settings"),
        "reason_decode.runs.workers": ("run_workers",),
    },
)
