r"""Training what scores and what guides: labelled solutions, losses, trainers.

`pip install 'reason-decode[training]'`. The loop is transformers' Trainer (checkpoints, resume,
accumulation, bfloat16, several GPUs as accelerate has them); the losses are ours, and text is laid
out by the object that will score it.

## A verifier of your own

Labelled solutions are read as they were published: PRM800K (both phases, ratings of -1, 0 and +1),
Math-Shepherd, TRL's stepwise `{"prompt", "completions", "labels"}`, ProcessBench,
BIG-Bench-Mistake, or plain `{"prompt", "solution", "answer"}`. Files stream; a malformed row is
counted and named, and loses no other.

```
reason-decode train prm --model your/model --data phase2_train.jsonl --out runs/prm
reason-decode train orm --model your/model --data graded.jsonl --out runs/orm --lora 16
reason-decode train active --model your/model --data pool.jsonl --out runs/active --rounds 3
```

What comes out loads in `ProcessRewardModel` or `OutcomeRewardModel`, and in plain transformers.
`active` labels in rounds what the last round's model finds most convincing, four in five of it with
a wrong answer.

## Labels without people

`reason-decode label --input solutions.jsonl --output labelled.jsonl`, with `--model M` (rollouts: the
model continues from every step eight times, and a step is right if any continuation comes out
right) or with `--scorer S` (a larger reward model judges). `train` reads the file that it writes; a
run that was interrupted resumes, and `--shard`, `--workers` and `--executor` divide it, as for
`generate`. In Python these are `label_file`, `label_by_rollouts` and `label_by_scorer`;
`label_by_checker` takes an exact checker of your own.

## Learn from wrong samples

Samples with wrong answers come for free. `negative` learns LoRA matrices from them; `nat` learns a
second pair from the right ones, and a unit that decides for every token how much to add of the one
and to subtract of the other; `nce` distils both into one plain LoRA, which peft and transformers
load and merge like any, and which learns most where the negative model would disagree.

```
reason-decode train negative --model your/model --data samples.jsonl --out runs/negative
reason-decode train nat --model your/model --data samples.jsonl --negative runs/negative \
    --out runs/nat
reason-decode train nce --model your/model --data samples.jsonl --nat runs/nat --out runs/student
```

What they are compared with is `train baseline --method {ft,cot-kd,mix,cl,nt,ul}`; plain
distillation is `train nce --weigh none`. A ranker, of an encoder or a causal model, learns from the
same rows which of two solutions is right, and weighs votes (`SelfConsistency(scorer=ranker)`):

```
reason-decode train ranker --model your/encoder --data samples.jsonl --out runs/ranker
reason-decode train ranker --model ngrams --data samples.jsonl --out runs/linear
```

The second is linear (`NGramRanker`), and needs no encoder, no GPU and a minute or two.

Rows are `{"prompt", "samples": [...], "answer"}`, the published `{"question", "generated_answer",
"answer"}`, or any layout above. Right and wrong are told apart by `same_answer`; duplicates,
samples without an answer and problems without a known one are left out and counted.

## A rationale model

`rationalyst` learns from mined rationales (`reason_decode.mining`), rows of `{"id", "source",
"preceding", "rationale", "following", "delta"}`: the loss is on the rationale and its end,
documents are on one side of the split, long texts lose their beginning and are counted. With
`--learn both` it learns what follows, too, so that a model which has never met rationales can be
its own judge.

```
reason-decode train rationalyst --model your/model --data rationales.jsonl --out runs/rationalyst \
    --lora 16 --adapter
reason-decode eval --task game24 --data 24.csv --strategy rationale-guided \
    --rationalyst runs/rationalyst --n 3
reason-decode verify --scorer rationale --rationalyst runs/rationalyst --data traces.jsonl
```
"""

from reason_decode.training.active import active_learning, select
from reason_decode.training.augment import augment, sample_solutions
from reason_decode.training.baselines import Form, Method, train_baseline
from reason_decode.training.data import read_labelled
from reason_decode.training.examples import (
    Example,
    hold_out,
    is_right,
    outcome_examples,
    step_examples,
)
from reason_decode.training.grading import Counts, Graded, grade_samples, solution_examples
from reason_decode.training.label_config import LabelConfig
from reason_decode.training.label_run import LabelRun, label_file
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.labels import label_by_checker, label_by_scorer
from reason_decode.training.nat import train_nat, train_negative
from reason_decode.training.nce import CalibrationLevel, train_nce
from reason_decode.training.ngram_ranker import train_ngram_ranker
from reason_decode.training.orm import train_orm
from reason_decode.training.prm import train_prm
from reason_decode.training.ranker import train_ranker
from reason_decode.training.ranking_batches import Compare, contest_loss
from reason_decode.training.rationale_rows import RationaleRow, read_rationales, split_documents
from reason_decode.training.rationalyst import rationale_examples, train_rationalyst
from reason_decode.training.rollouts import Rolled, label_by_rollouts
from reason_decode.training.trainer import TrainingConfig

__all__ = [
    "CalibrationLevel",
    "Compare",
    "Counts",
    "Example",
    "Form",
    "Graded",
    "LabelConfig",
    "LabelRun",
    "LabelledSolution",
    "Method",
    "RationaleRow",
    "Rolled",
    "TrainingConfig",
    "active_learning",
    "augment",
    "contest_loss",
    "grade_samples",
    "hold_out",
    "is_right",
    "label_by_checker",
    "label_by_rollouts",
    "label_by_scorer",
    "label_file",
    "outcome_examples",
    "rationale_examples",
    "read_labelled",
    "read_rationales",
    "sample_solutions",
    "select",
    "solution_examples",
    "split_documents",
    "step_examples",
    "train_baseline",
    "train_nat",
    "train_nce",
    "train_negative",
    "train_ngram_ranker",
    "train_orm",
    "train_prm",
    "train_ranker",
    "train_rationalyst",
]
