r"""Evaluation: tasks and their metrics, reranking, accuracy curves, first-error detection.

```
reason-decode eval --task gsm8k --input test.jsonl --limit 50 --strategy self-consistency --n 8 \
    --model Qwen/Qwen2.5-1.5B-Instruct --output eval.json
reason-decode eval --task game24 --input 24.csv --rows 901:1001 --strategy step-search --n 8 \
    --output eval.json
reason-decode rerank --task game24 --input gpt4_cot_samples.jsonl.gz --scorer tiny \
    --output rerank.json
reason-decode verify --input traces.jsonl --format processbench --scorer tiny --output verify.json
```

- `eval` (in Python `evaluate`) runs a decoding strategy on a task and grades the solutions. The
  result has the accuracy with its 95 % interval and the tokens that each model read.
- `rerank` chooses among given solutions, of any model, by a scorer: best of n, and votes with and
  without weights, beside a sample at random and one at random of those that state an answer.
- `verify` predicts the first wrong step of given solutions: the first one that scores below a
  threshold, which is calibrated on other prompts. It compares the predictions with labels: exact
  accuracy, and the F1 score of ProcessBench.
- `accuracy_curves` gives pass@N, best of N and votes for every N from one pool of samples.

## Answers that are held back

`train calibration` learns how probably an answer is right from graded ones: from `agreement`, the
winner's share of the votes, or from `score`. Its table says how often answers are right that it did
not see. With `--calibration` every row of `generate` and `eval` gets a `probability`, and with
`--abstain-below 0.9` the field `abstained`; `eval` then counts the answers that are given:

```
reason-decode eval --input train.jsonl --strategy self-consistency --n 8 --output graded.json
reason-decode train calibration --input graded.json --output calibration.json
reason-decode generate --input prompts.jsonl --output out.jsonl --strategy self-consistency --n 8 \
    --calibration calibration.json --abstain-below 0.9
```

In Python: `AnswerCalibration.load(path).probability(response.confidence)`. A calibration holds for
the model, the strategy and the kind of problems that it was learnt on.

## Weights of votes

`train vote-weights` learns from graded samples how much a vote of each score weighs: ``base +
sigmoid(slope * s + intercept)``, of which ``1+s`` and ``s`` are two points. Its table compares the
votes on problems that it did not see; the formula that it prints is a `--vote-weighting`, or
`SelfConsistency(vote_weighting=...)`:

```
reason-decode train vote-weights --task gsm8k --input samples.jsonl --scorer your/orm
```

## Runs that resume

`generate`, `eval`, `verify` and `label` keep their results beside the output. A run that was
interrupted or killed resumes when the same command is given again; with other options it is
refused. `--shard 2/8` runs every eighth batch, as in a job array, and `--workers 4` runs four
processes, one per GPU; the same command without these options joins the results. A batch that runs
out of memory is halved; an item that fails is listed with its reason, and the exit status is 1.

## Servers

`--engine URL --model NAME` lets an OpenAI-compatible server (vLLM, SGLang, llama.cpp, `transformers
serve`) sample, with every strategy, while the scorer runs here; `--scorer-endpoint URL
--scorer-model NAME` asks a chat model at a server whether each step is right.

## Traces

`eval --trace FILE` and `generate --trace` write every candidate and score; `reason-decode trace
--input FILE --output page.html` makes one page of them.
"""

from reason_decode.evaluation.curves import SamplePool, accuracy_curves
from reason_decode.evaluation.metrics import accuracy_interval, pass_at_k
from reason_decode.evaluation.rerank import rerank
from reason_decode.evaluation.runner import evaluate
from reason_decode.evaluation.verify import AnnotatedSolution, verify

__all__ = [
    "AnnotatedSolution",
    "SamplePool",
    "accuracy_curves",
    "accuracy_interval",
    "evaluate",
    "pass_at_k",
    "rerank",
    "verify",
]
