"""Runs of many items that resume after a kill, in shards and in several processes.

A command or script with many items opens a ``ResumableRun`` beside its output:

```python
from reason_decode.runs.batches import Batches
from reason_decode.runs.options import RunOptions, Shard
from reason_decode.runs.resumable import ResumableRun, item_indices
from reason_decode.runs.settings import run_settings

prompts = ["1 + 1 =", "2 + 2 ="]
settings = run_settings({"seed": 0}, items=prompts)
run = ResumableRun("out.json", settings, item_indices, len(prompts), RunOptions())
with run:
    work = lambda batch: {"items": list(batch), "lengths": [len(prompts[k]) for k in batch]}
    for _, row in Batches(range(len(prompts)), 1, work, done=run.done):
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

This package imports nothing when it is imported: a command line is parsed without loading torch.
"""
