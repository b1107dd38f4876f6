r"""Things that judge solutions: one number a step, or one a solution; higher is better.

Any scorer fits wherever a scorer is asked for, and each stands alone:

```python
from reason_decode import tiny

t = tiny.load()
scores = t.prm.score(
    ["Make 24 from 4 5 6 10.\n"] * 2, ["10 - 4 = 6 (left: 5 6 6)", "10 - 4 = 7 (left: 5 6 7)"]
)
```

A scorer reads each prompt and each step once, however the search branches: what a trajectory shares
with the one before is kept in a key-value cache. Where generator and scorer have different
tokenizers, text is the common ground.

## Process reward models

`ProcessRewardModel.from_pretrained(path_or_id, format=None)` reads these published layouts, none of
them through remote code. The format is told by the architecture or, for plain language models, by
the name; `format=` overrides it.

- `token-classification` (what TRL's `PRMTrainer` trained; three labels: PRM800K's ratings): at its
  separator, the label called `right`; else the second of two, all but the first of three
- `qwen-math` (Qwen/Qwen2.5-Math-PRM-7B, -72B, Qwen2.5-Math-7B-PRM800K): at its `<extra_0>`, a head
  of two layers
- `math-shepherd` (peiyi9979/math-shepherd-mistral-7b-prm): at its `ки`, `+` against `-`
- `rlhflow` (RLHFlow/Llama3.1-8B-PRM-Deepseek-Data): where the answer to its turn is predicted, `+`
  against `-`
- `skywork` (Skywork/Skywork-o1-Open-PRM-Qwen-2.5-7B): at its newline, a value head
- `reasoneval` (GAIR/ReasonEval-7B, -34B): at its last token, all but the first of three labels
- `generative` (any chat model, by `format="generative"`): where it answers "Is this step correct
  (Yes/No)?", `Yes` against `No`

Each is tested on a random model of its architecture against a plain reading of one solution at a
time (`tests/scorers/test_prm_formats.py`); the weights themselves could not be fetched here.

## The others

- `OutcomeRewardModel.from_pretrained(path_or_id)`: models for sequence classification with one
  label or two
- `LikelihoodScorer.from_pretrained(path_or_id)`: how probable any causal language
  model finds a step
- `RankingModel.from_pretrained(path_or_id)`: whole solutions, to weigh votes
- `NGramRanker.from_pretrained(folder)`: the same without a network, trained in two minutes
  (`SelfConsistency(scorer=ranker)`); it sees words, the form of the answer, and which of a
  solution's own equations hold (`scorers.equations`)
- `EndpointVerifier(url, model)`: a chat model at a server (vLLM, SGLang, `transformers serve`), asked
  of each step whether it is right
- `RationaleScorer`: how likely a step is under the rationale that was written for it

Scores of the last and of `LikelihoodScorer` are log-probabilities, in nats.

## Rationales

Any causal language model with a chat template, or one that was trained to go on from `<BOT>` up to
`<EOT>`, writes rationales. The likelihood may count early tokens more (`discount=0.9`), be that
of the step and not of a token (`mean=False`) or be set against that without the rationale
(`subtract=True`). Writer, judge and generator may be three
models, or adapters of one, whose weights are then in memory once:

```python
from reason_decode import RationaleScorer
from reason_decode.adapters import with_adapter
from reason_decode.scorers import RationaleWriter

writer = RationaleWriter(with_adapter(model, "you/your-rationale-adapter"), tokenizer)
rationalyst = RationaleScorer(writer, model, tokenizer)
```
"""

from reason_decode.scorers.base import Scorer, ScoreSpace, Session
from reason_decode.scorers.checks import to_steps
from reason_decode.scorers.likelihood import LikelihoodScorer
from reason_decode.scorers.ngram.ranker import NGramRanker
from reason_decode.scorers.openai import EndpointVerifier
from reason_decode.scorers.outcome import OutcomeRewardModel
from reason_decode.scorers.process import ProcessRewardModel
from reason_decode.scorers.ranking import RankingModel
from reason_decode.scorers.rationale import RationaleScorer
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.scorers.reduction import reduce_scores

__all__ = [
    "EndpointVerifier",
    "LikelihoodScorer",
    "NGramRanker",
    "OutcomeRewardModel",
    "ProcessRewardModel",
    "RankingModel",
    "RationaleScorer",
    "RationaleWriter",
    "ScoreSpace",
    "Scorer",
    "Session",
    "reduce_scores",
    "to_steps",
]
