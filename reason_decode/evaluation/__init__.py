r"""Measuring: metrics; a task run, samples reranked, N varied, errors located.

```
reason-decode eval --task game24 --input 24.csv --rows 901:1001 --strategy step-search --n 8 \
    --output out.json
reason-decode rerank --scorer tiny --task game24 --input gpt4_cot_samples.jsonl.gz \
    --output out.json
reason-decode verify --scorer tiny --input traces.jsonl --format processbench --output out.json
```

`eval` runs a strategy over a public task, with intervals and the tokens that each model read;
`rerank` scores solutions that any model wrote; `verify` finds where given solutions first go wrong
(the first step below a threshold that is calibrated on other prompts) and measures that against
labels: exact location, accuracy on erroneous and on right traces, their harmonic mean.
`accuracy_curves` gives best-of-N and votes for every N from one pool of samples.

## Long runs

`generate`, `eval` and `verify` keep what is done beside their output. A run that was stopped,
however it was, goes on when the same command is given again; with other options it refuses.
`--shard 2/8` runs every eighth batch, as in a job array, `--workers 4` a process each, one a GPU;
the same command without them joins the results. Where memory runs out a batch is halved; an item
that cannot be done is set aside with its reason, and the exit code is 1. `--endpoint URL --model
NAME` samples from a server of OpenAI's form (vLLM, SGLang, `transformers serve`), and the scorer
here chooses; with `--scorer-endpoint URL --scorer-model NAME` a chat model at a server scores.

## Traces

`eval --trace OUT` and `generate --trace` write every candidate and score; `reason-decode trace
--input OUT --output page.html` makes one page of them.
"""

from reason_decode.evaluation.curves import Samples, accuracy_curves
from reason_decode.evaluation.metrics import accuracy_interval, pass_at_k
from reason_decode.evaluation.rerank import rerank
from reason_decode.evaluation.runner import evaluate
from reason_decode.evaluation.verify import AnnotatedSolution, verify

__all__ = [
    "AnnotatedSolution",
    "Samples",
    "accuracy_curves",
    "accuracy_interval",
    "evaluate",
    "pass_at_k",
    "rerank",
    "verify",
]
