r"""Scorers: reward models, rankers, likelihoods and rationale models, all used in the same way.

A scorer gives one score a step, or one a solution; higher is better. Every strategy takes every
scorer, and each can be called alone:

```python
from reason_decode import tiny

t = tiny.load()
scores = t.prm.score(
    ["Make 24 from 4 5 6 10.\n"] * 2, ["10 - 4 = 6 (left: 5 6 6)", "10 - 4 = 7 (left: 5 6 7)"]
)
```

Scorers read text, so generator and scorer may have different tokenizers. Each prompt and each step
goes through a scorer's model once, however a search branches: the key-value cache of what a
trajectory shares with the one before is reused.

## Process reward models

`ProcessRewardModel.from_pretrained(path_or_id, format=None)` reads these published models, none of
them with remote code. The format is read from the config and the tensors of the reward head; the
files of a plain language model do not say what it was trained for, so it is found by its published
name, or by `format=`. What `reason-decode train prm` writes says its format itself. A model that is
in memory is passed as `ProcessRewardModel(model, tokenizer, format="rlhflow")`, or to the class of
its format in `scorers.prm_formats`.

- a head on a body: `token-classification`, `qwen-math` (also ensembles), `skywork`, `reasoneval`
- a language model that answers with a verdict: `math-shepherd`, `versaprm`, `math-psa`, `step-tag`
  (any tag), `rlhflow`, `generative` and `rating` (any chat model)
- a language model that writes a critique before its verdict: `genprm`, `thinkprm`
- a language model against its reference: `implicit` (EurusPRM, any DPO or PRIME model)

The table of formats in `docs/guides/scorers.md` says which published models each reads, and where.

Formats that read a chat take `system=` and `chat_template_kwargs=`. Each format is tested with a
random model of its architecture against a plain implementation that scores one solution at a time
(`tests/scorers/test_prm_formats.py`). The published weights themselves could not be downloaded
here.

Log-probabilities and verdicts are those of the model's own logits on every architecture: a short
probe at construction decides whether they may be computed from hidden states, without a matrix of
logits. Models in peft's wrapper, quantized and offloaded ones are read as they are. Steps past the
positions that a model was made for are scored with a warning.

## Outcome reward models

`OutcomeRewardModel.from_pretrained(path_or_id)` reads models for sequence classification with one
label or two (Skywork-Reward, AceMath-RM with its `system=`), bodies with a head of several layers
(Qwen2.5-Math-RM), and language models that answer with one of two verdicts (RLHFlow's ORMs,
`verdicts=("+", "-")`). A solution is read as it was generated, white space included.

## Other scorers

- `LikelihoodScorer`: a step, by how probable any causal language model finds it
- `ConfidenceScorer`: a solution, by the generator's own logits while it samples; no further pass
- `RationaleScorer`: a step, by its log-likelihood given a rationale that was written for it
- `RankingModel`: a solution, to weigh its vote: `SelfConsistency(scorer=ranker)`
- `EndpointVerifier(url, model)`: a step, by asking a chat model at a server (vLLM, SGLang,
  `transformers serve`) whether it is correct
- `EnsembleScorer([a, b])`: by the mean, the minimum or a lower bound of several scorers
- `ServedProcessRewardModel.from_pretrained(folder, url, model)`: a step, by a process reward model
  at a server (`vllm serve MODEL --runner pooling`), laid out by the config and tokenizer of the
  folder; `ServedOutcomeRewardModel`: a solution
- `NGramRanker`: a solution, by a linear model without a network; experimental, see `scorers.ngram`

The option `--scorer` of the commands takes `tiny`, a folder or Hub id (its files say which kind of
scorer it is), a word such as `likelihood`, or `word=folder`; `scorers.loading.load_scorer` explains
them.

## Score spaces

`score_space` says what the numbers are. Strategies use it where they combine scores:

| `score_space` | scores of steps become one by | a score s weighs a vote by |
|---|---|---|
| `"probability"`, in [0, 1] | `prod` | `s`; `1+s` for rankers |
| `"log_probability"`, at most 0 | `mean` | `exp(s)` |
| `"reward"`, any number | `last` | what `vote_weighting=` says |

`reduce=` overrides the first (`prod` of anything but probabilities is refused), `vote_weighting=`
the second. How to write a scorer of your own: `docs/guides/own_scorer.md`.

## Rationales

Any causal language model with a chat template, or one that was trained to continue from `<BOT>` up
to `<EOT>`, writes rationales. The likelihood of a step may weigh early tokens more
(`discount=0.9`), be that of the whole step (`length_normalize=False`), or have the likelihood
without the rationale subtracted (`contrastive=True`). Writer, likelihood model and generator may be
three models, or adapters of one whose weights are then in memory once:

```python
from reason_decode import RationaleScorer
from reason_decode.adapters import with_adapter
from reason_decode.scorers import RationaleWriter

writer = RationaleWriter(with_adapter(model, "you/your-rationale-adapter"), tokenizer)
rationalyst = RationaleScorer(writer, model, tokenizer)
```
"""

from reason_decode.core.solutions import to_steps
from reason_decode.scorers.base import Scorer, ScoreSpace, Session, reduce_scores
from reason_decode.scorers.confidence import ConfidenceScorer
from reason_decode.scorers.ensemble import EnsembleScorer
from reason_decode.scorers.likelihood import LikelihoodScorer
from reason_decode.scorers.ngram import NGramRanker
from reason_decode.scorers.openai import EndpointVerifier
from reason_decode.scorers.outcome import OutcomeRewardModel
from reason_decode.scorers.process import ProcessRewardModel, TokenClassification
from reason_decode.scorers.ranking import RankingModel
from reason_decode.scorers.rationale import RationaleScorer
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.scorers.served import ServedOutcomeRewardModel, ServedProcessRewardModel

__all__ = [
    "ConfidenceScorer",
    "EndpointVerifier",
    "EnsembleScorer",
    "LikelihoodScorer",
    "NGramRanker",
    "OutcomeRewardModel",
    "ProcessRewardModel",
    "RankingModel",
    "RationaleScorer",
    "RationaleWriter",
    "ScoreSpace",
    "Scorer",
    "ServedOutcomeRewardModel",
    "ServedProcessRewardModel",
    "Session",
    "TokenClassification",
    "reduce_scores",
    "to_steps",
]
