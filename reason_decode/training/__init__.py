r"""Training reward models, rationale models and adapters, and labelling their data.

`pip install 'reason-decode[training]'`

```python
from transformers import AutoTokenizer
from reason_decode.training import PRMConfig, hold_out, read_labelled, train_prm

name = "Qwen/Qwen2.5-0.5B"
solutions, held_out = hold_out(read_labelled("phase2_train.jsonl"), share=0.05)
config = PRMConfig(lora_rank=16, num_train_epochs=2, bf16=True)
tokenizer = AutoTokenizer.from_pretrained(name)
train_prm(name, tokenizer, solutions, "runs/prm", config, held_out=held_out)
```

The same as a command:

```
reason-decode train prm --model Qwen/Qwen2.5-0.5B --input phase2_train.jsonl --output runs/prm \
    --lora-rank 16 --num-train-epochs 2 --bf16
```

`ProcessRewardModel.from_pretrained("runs/prm")` then loads the result, and so does plain
transformers. A run that was stopped resumes from its last checkpoint; its folder remembers
settings, data and base (`training.json`), and refuses others until `--restart`. Weights are trained
in float32 whatever the checkpoint is. The training loop is transformers' `Trainer` (gradient
accumulation, bfloat16, several GPUs by accelerate) with losses of our own. Solutions are encoded by
the object that will score them.

Held-out rows (`--hold-out`) are measured after every epoch, or every `--eval-steps` steps with
`--eval-strategy steps`: the loss, and first-error F1 of process reward models, accuracy of outcome
reward models, pair accuracy of rankers. `--load-best-model-at-end` keeps the best checkpoint,
`--early-stopping-patience 3` also stops there. `--lora-rank`, `--lora-alpha` and `--target-modules`
train LoRA matrices, which are merged, or kept as an adapter that the scorers load
(`--no-merge-lora`). `--freeze` trains the head alone on hidden states that the body computes once,
which two cores can do for a model of half a billion weights; `--layer 16` lets it read those of the
sixteenth layer, and the saved model has no more. A model card says data, settings and metrics;
`--push-to-hub` uploads all.

| train | learns from | config | result loads in |
|---|---|---|---|
| `train_prm` | labelled steps | `PRMConfig` | `ProcessRewardModel` |
| `train_orm` | right and wrong answers | `ORMConfig` | `OutcomeRewardModel` |
| `active_learning` | steps, labelled in rounds | `ActiveLearningConfig` | `ProcessRewardModel` |
| `train_ranker` | right and wrong samples of a problem | `RankerConfig` | `RankingModel` |
| `train_ngram_ranker` | the same, without a network | `NGramRankerConfig` | `NGramRanker` |
| `train_rationalyst` | mined rationales | `RationalystConfig` | `RationaleScorer` |
| `train_negative` | wrong samples | `NegativeConfig` | peft |
| `train_nat` | right samples, and the negative adapter | `NATConfig` | `adapters.load_nat` |
| `train_nce` | right samples, and the NAT adapter | `NCEConfig` | peft |
| `train_baseline` | right and wrong samples | `BaselineConfig` | peft |

## Data

`read_labelled` reads the published formats of labelled solutions: PRM800K (both phases),
Math-Shepherd, TRL's stepwise `{"prompt", "completions", "labels"}`, ProcessBench,
BIG-Bench-Mistake, plain `{"prompt", "solution", "answer"}`, and samples `{"prompt", "samples",
"answer"}`. Other rows are read by the names of their columns: `question` or `problem` with
`solution`, `answer`, `completions`, `samples` and `labels`, preference pairs (`chosen`,
`rejected`), conversations (`messages`, `conversations`); `SolutionColumns`, or `--question-column`,
`--solution-column`, `--answer-column` and `--labels-column`, name others. Labels are true and
false, 1 and 0, `+` and `-`, or probabilities such as shares of right rollouts, which `train_prm`
learns as they are. Files are JSON Lines, JSON, CSV or Parquet, or datasets of the Hub; they are
read row by row, and malformed rows are counted and skipped. `grade_samples` sorts samples into
right and wrong ones by `same_answer`.

## Labels without people

`reason-decode label --input solutions.jsonl --output labelled.jsonl --model your/model` labels
steps by rollouts (a step is right if one of eight continuations from it reaches the answer), with
`--scorer your/prm` in place of `--model` by a larger reward model; the output is a file that
`train` reads, and a run that was stopped resumes. In Python: `label_file`, `label_by_rollouts`,
`label_by_scorer`, and `label_by_checker` for an exact checker of your own. `active_learning` labels
in rounds what the last reward model finds most convincing, four in five with a wrong answer. As
`reason-decode train active` it writes the solutions without labels to `to_label-K.jsonl`, for
people to fill in, and goes on when the same command is given again.

## Learning from wrong samples

Samples with wrong answers are free. A negative adapter learns them; NAT adds a positive adapter and
a gate that decides for every token how much of each to add; NCE distills both into one plain LoRA
adapter, most where the negative model disagrees (Turning Dust into Gold, 2312.12832):

```
reason-decode train negative --model your/model --input samples.jsonl --output runs/negative
reason-decode train nat --model your/model --input samples.jsonl --negative runs/negative \
    --output runs/nat
reason-decode train nce --model your/model --input samples.jsonl --nat runs/nat --output runs/nce
```

The baselines of the paper are `train baseline --method {ft,cot-kd,mix,cl,nt,ul}`; plain
distillation is `train nce --calibrate-by none`. A ranker weighs votes:
`SelfConsistency(scorer=ranker)`.

## Rationale models

`train rationalyst` learns from the rationales that `reason_decode.mining` writes. With
`--loss-on both` the model also learns the text after each rationale, so that a model that never
read rationales can score steps by them.
"""

from typing import TYPE_CHECKING

from reason_decode.core.lazy import lazy_imports

if TYPE_CHECKING:
    from reason_decode.training.active import active_learning, select_convincing
    from reason_decode.training.active_config import ActiveLearningConfig
    from reason_decode.training.adapter_config import (
        BaselineConfig,
        BaselineMethod,
        CalibrationLevel,
        NATConfig,
        NCEConfig,
        NegativeConfig,
        SamplingConfig,
        UnlikelihoodLevel,
    )
    from reason_decode.training.augmentation import augment, sample_solutions
    from reason_decode.training.baselines import train_baseline
    from reason_decode.training.columns import SolutionColumns
    from reason_decode.training.config import (
        LossOn,
        ORMConfig,
        PRMConfig,
        RationalystConfig,
        TrainingConfig,
    )
    from reason_decode.training.data import read_labelled
    from reason_decode.training.examples import (
        Example,
        outcome_examples,
        solution_examples,
        step_examples,
    )
    from reason_decode.training.grading import GradeCounts, Graded, grade_samples, is_right
    from reason_decode.training.holdout import hold_out
    from reason_decode.training.label_config import LabelConfig
    from reason_decode.training.label_run import LabelRun, label_file
    from reason_decode.training.labelled import LabelledSolution
    from reason_decode.training.labels import label_by_checker, label_by_scorer
    from reason_decode.training.nat import train_nat, train_negative
    from reason_decode.training.nce import train_nce
    from reason_decode.training.ngram_ranker import train_ngram_ranker
    from reason_decode.training.orm import train_orm
    from reason_decode.training.prm import train_prm
    from reason_decode.training.ranker import train_ranker
    from reason_decode.training.ranker_config import (
        NGramRankerConfig,
        RankerConfig,
        RankingLoss,
    )
    from reason_decode.training.ranking_batches import ranking_loss
    from reason_decode.training.rationale_rows import (
        RationaleRow,
        read_rationales,
        split_documents,
    )
    from reason_decode.training.rationalyst import rationale_examples, train_rationalyst
    from reason_decode.training.rollouts import RolloutLabels, label_by_rollouts

__all__ = [
    "ActiveLearningConfig",
    "BaselineConfig",
    "BaselineMethod",
    "CalibrationLevel",
    "Example",
    "GradeCounts",
    "Graded",
    "LabelConfig",
    "LabelRun",
    "LabelledSolution",
    "LossOn",
    "NATConfig",
    "NCEConfig",
    "NGramRankerConfig",
    "NegativeConfig",
    "ORMConfig",
    "PRMConfig",
    "RankerConfig",
    "RankingLoss",
    "RationaleRow",
    "RationalystConfig",
    "RolloutLabels",
    "SamplingConfig",
    "SolutionColumns",
    "TrainingConfig",
    "UnlikelihoodLevel",
    "active_learning",
    "augment",
    "grade_samples",
    "hold_out",
    "is_right",
    "label_by_checker",
    "label_by_rollouts",
    "label_by_scorer",
    "label_file",
    "outcome_examples",
    "ranking_loss",
    "rationale_examples",
    "read_labelled",
    "read_rationales",
    "sample_solutions",
    "select_convincing",
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

__getattr__, __dir__ = lazy_imports(
    __name__,
    {
        "reason_decode.training.active": ("active_learning", "select_convincing"),
        "reason_decode.training.active_config": ("ActiveLearningConfig",),
        "reason_decode.training.adapter_config": (
            "BaselineConfig",
            "BaselineMethod",
            "CalibrationLevel",
            "NATConfig",
            "NCEConfig",
            "NegativeConfig",
            "SamplingConfig",
            "UnlikelihoodLevel",
        ),
        "reason_decode.training.augmentation": ("augment", "sample_solutions"),
        "reason_decode.training.baselines": ("train_baseline",),
        "reason_decode.training.columns": ("SolutionColumns",),
        "reason_decode.training.config": (
            "LossOn",
            "ORMConfig",
            "PRMConfig",
            "RationalystConfig",
            "TrainingConfig",
        ),
        "reason_decode.training.data": ("read_labelled",),
        "reason_decode.training.examples": (
            "Example",
            "outcome_examples",
            "solution_examples",
            "step_examples",
        ),
        "reason_decode.training.grading": ("GradeCounts", "Graded", "grade_samples", "is_right"),
        "reason_decode.training.holdout": ("hold_out",),
        "reason_decode.training.label_config": ("LabelConfig",),
        "reason_decode.training.label_run": ("LabelRun", "label_file"),
        "reason_decode.training.labelled": ("LabelledSolution",),
        "reason_decode.training.labels": ("label_by_checker", "label_by_scorer"),
        "reason_decode.training.nat": ("train_nat", "train_negative"),
        "reason_decode.training.nce": ("train_nce",),
        "reason_decode.training.ngram_ranker": ("train_ngram_ranker",),
        "reason_decode.training.orm": ("train_orm",),
        "reason_decode.training.prm": ("train_prm",),
        "reason_decode.training.ranker": ("train_ranker",),
        "reason_decode.training.ranker_config": (
            "NGramRankerConfig",
            "RankerConfig",
            "RankingLoss",
        ),
        "reason_decode.training.ranking_batches": ("ranking_loss",),
        "reason_decode.training.rationale_rows": (
            "RationaleRow",
            "read_rationales",
            "split_documents",
        ),
        "reason_decode.training.rationalyst": ("rationale_examples", "train_rationalyst"),
        "reason_decode.training.rollouts": ("RolloutLabels", "label_by_rollouts"),
    },
)
