r"""Decoding strategies for ``generate(custom_generate=...)``: more computation, better answers.

`chat` answers a conversation, rendered by the model's chat template; a list of conversations is a
batch, and further options are those of `generate`:

```python
from transformers import AutoModelForCausalLM, AutoTokenizer
from reason_decode import SelfConsistency

tokenizer = AutoTokenizer.from_pretrained("you/your-instruct-model")
model = AutoModelForCausalLM.from_pretrained("you/your-instruct-model")
vote = SelfConsistency(tokenizer=tokenizer, n=8)
response = vote.chat(model, [{"role": "user", "content": "What is 17 * 23?"}], temperature=0.7)
print(response.answer, response.confidence, response.text)
```

`complete` continues a text as it stands, such as the packaged model's problems:

```python
from reason_decode import BestOfN, tiny

t = tiny.load()
best = BestOfN(t.verifier, tokenizer=t.tokenizer, n=16)
response = best.complete(t.model, "Make 24 from 4 5 6 10.\n", max_new_tokens=96)
print(response.answer, response.total)
```

Both are calls of `generate`, which takes everything that they leave out:

```python
from reason_decode import StepSearch, tiny

t = tiny.load()
inputs = t.tokenizer(["Make 24 from 4 5 6 10.\n"], return_tensors="pt")
search = StepSearch(t.prm, tokenizer=t.tokenizer, n=8, beam_width=2)
out = t.model.generate(
    **inputs,
    max_new_tokens=96,
    do_sample=True,
    return_dict_in_generate=True,
    custom_generate=search,
)
print(out.traces[0].best.steps, out.cost)
```

With `return_dict_in_generate=True` the result holds, beside the tokens, a `Trace` of each prompt
with all its candidates, and the `Cost` in tokens that each model read. The numbers are arXiv ids:

| call, with defaults | what it returns | source |
|---|---|---|
| `BestOfN(scorer, n=8)` | the best of n solutions | 2305.20050 |
| `BestOfN(scorer, reject=0.5)` | the same; the worst half is given up step by step | 2410.20290 |
| `SelfConsistency(n=8)` | a solution with the answer of most votes | 2203.11171 |
| `SelfConsistency(n=8, scorer=prm)` | the same, votes weighted by scores | 2206.02336, 2312.12832 |
| `SelfConsistency(scorer=confidence, warm_up=8)` | the same, unsure ones cut off | 2508.15260 |
| `StepSearch(scorer, n=4, beam_width=1)` | step by step, the best of n next steps | 2408.03314 |
| `ParticleFilter(scorer, n=8)` | step by step, n solutions resampled by their scores | 2502.01618 |
| `RationaleGuided(rationalyst, n=3)` | the likeliest step under a rationale | 2410.01044 |

A strategy is a frozen object that holds a tokenizer and a scorer and keeps nothing between calls.
Everything else comes from `generate`: sampling options, batches, left padding, logits processors.
A call that cannot work (`num_beams`, `cache_implementation="static"`, gradient checkpointing in
training mode) is refused before the first forward pass, and the message says what to do instead.
`assistant_model=` and `synced_gpus=` are never seen: `generate` drops them where it calls a
strategy, without a word.

## Processors and criteria

Logits processors and stopping criteria see what they see in plain `generate`, however rows are
copied, dropped and continued: the prompt with the padding that it was passed with, and the new
tokens. Those of transformers that hold an entry or a state for each row (`repetition_penalty` in a
padded batch, `encoder_repetition_penalty`, `guidance_scale` with `negative_prompt_ids`, watermarks,
`prefix_allowed_tokens_fn`) follow their rows.

A processor of your own that keeps a state, such as a grammar or a thinking budget that counts its
calls, belongs to one row. Pass a function that makes one, and every candidate gets its own, which
sees that candidate's ids alone, (1, t). `logits_processor=[...]` with a state of its own is refused
by name where rows go on:

```python
from transformers import LogitsProcessor


class AtLeastTwentyTokens(LogitsProcessor):
    def __init__(self):
        self.calls = 0

    def __call__(self, input_ids, scores):
        self.calls += 1
        if self.calls <= 20:
            scores[:, t.tokenizer.eos_token_id] = -float("inf")
        return scores


out = t.model.generate(
    **inputs,
    max_new_tokens=96,
    do_sample=True,
    processors=lambda: [AtLeastTwentyTokens()],
    custom_generate=search,
)
```

`stop_strings=` needs no `tokenizer=`, for the strategy has one. Stop strings of the model's own
generation config do not get through, since `generate` wants its `tokenizer=` for them, which it
drops for a strategy: set them to `None` there and pass
`stopping_criteria=[StopStringCriteria(tokenizer, [...])]`, or `stop_strings=` in the call.

## Fewer tokens for the same answer

Three ways end work that no longer matters; the tokens saved are in `out.cost.sampled`:

- `SelfConsistency(early_stop=0.95)` asks for no further solution once the leader wins with that
  probability.
- `SelfConsistency(scorer=ConfidenceScorer("group", window=256), top=0.9, warm_up=8)` samples 8
  whole solutions, takes the least confidence among the better nine tenths of them as a floor, and
  cuts off each later solution that falls below it (DeepConf, online). Only solutions at or above
  the floor vote. No model but the generator runs.
- `BestOfN(scorer, reject=0.5, reject_every=4)` gives up the worse half of the unfinished solutions
  after every fourth step, as its scorer ranks them so far (speculative rejection).

Each loses an answer now and then that the whole run would have found; measure on your own problems
(`reason-decode eval`).

## Search or particles

`StepSearch` keeps the steps that the scorer likes best, and so follows the scorer into its errors.
`ParticleFilter` draws them by weight: a step of score 0.9 is kept nine times as often as one of
0.1, not always, and all n solutions stay alive. `temperature` sets how much scores decide; at 0 it
would be a search, with `min_ess=0` it is best-of-n:

```python
from reason_decode import ParticleFilter

particles = ParticleFilter(t.prm, tokenizer=t.tokenizer, n=8, temperature=0.5)
out = t.model.generate(**inputs, max_new_tokens=96, do_sample=True, custom_generate=particles)
```

## Token limits

`max_tokens=` limits the tokens sampled for a prompt over all its candidates, in every strategy; the
best found by then is returned. `SelfConsistency(early_stop=0.93)` samples fewer than n solutions
where the vote is clear. `StepSearch(lookahead=k)` ranks a step by where k more steps of greedy
decoding lead. `StepSearch(margin=0.5)` drops trajectories far below the best.

## Memory

At most 256 candidates stand side by side in the generator, the others follow; `batch_rows=` sets
another number in every strategy. On a CPU there are fewer where half of the free memory does not
hold their caches; where a device says that memory ran out, the rows are halved and sampled again.
Prompts are read once for all parts.

## Streaming

`generate` does not pass its `streamer=` on to a callable, so the strategy takes it. It receives a
step as soon as nothing that follows can change it:

```python
from transformers import TextStreamer

streamer = TextStreamer(t.tokenizer, skip_special_tokens=True)
streaming = StepSearch(t.prm, tokenizer=t.tokenizer, n=8, streamer=streamer)
```

## Selection among given candidates

Candidates that a server or a file holds are chosen among by the same rules, without a generator:
`BestOfNSelector(scorer)` and `VoteSelector(scorer)`; see `selection.py`.

## Saved strategies

`save_pretrained` writes a folder that `generate` loads by name, from disk or from the Hub. Use it
where only strings can be passed: in `pipeline(...)`, or in lm-evaluation-harness
(`--gen_kwargs custom_generate=folder,trust_remote_code=True`). The strategy's own arguments
(`n=32`) and `streamer=` can then be passed to `generate`:

```python
search.save_pretrained("runs/search")
out = t.model.generate(
    **inputs,
    max_new_tokens=96,
    do_sample=True,
    tokenizer=t.tokenizer,
    custom_generate="runs/search",
    trust_remote_code=True,
)
```

The folder names the classes of the strategy and of its scorer by module. Classes of your own can be
saved, too, if they are in a module that can be imported where the folder is loaded.

## Strategies of your own

A frozen dataclass that inherits from `strategies.base.Strategy` and writes `run`.
`reason_decode.testing.check_strategy` holds it to the laws of the others: one candidate is plain
`generate`, batches and padding change nothing, traces and costs are true.

## Rationales

A rationale model writes, before each step, what would make the next step likely (RATIONALYST).
`RationaleGuided` keeps the step that is likeliest under the rationale; with
`supervision="explicit"` the generator reads the rationale, too:

```python
from reason_decode import RationaleGuided, RationaleScorer

rationalyst = RationaleScorer.from_pretrained("you/your-rationale-model", model, tokenizer)
guided = RationaleGuided(rationalyst, tokenizer=tokenizer, n=3, supervision="implicit")
out = model.generate(**inputs, do_sample=True, max_new_tokens=512, custom_generate=guided)
```

## Tested models

Tiny random models of 55 architectures, from GPT-2 to Qwen3.5, Gemma-4 and Nemotron-H, alone and in
batches with left padding, `repetition_penalty`, `min_new_tokens` and token types: with n=1 the
tokens are those of plain `generate`. In pipelines with strings, chats and batches; compiled, and
with a device map; under transformers 5.18 and 5.23 and under lm-eval.

Recurrent models (Mamba, Jamba, Zamba2, Bamba, LFM2, Qwen3-Next, Qwen3.5, Nemotron-H) branch by
copies of their states; as scorers they read each text from its beginning. A few models keep their
state in a way that cannot be copied row by row (MiniMax-01, RecurrentGemma, sparse attention with
an index, MPT without a cache, GPT-1): they read each prompt n times, and each trajectory again at
every step. A warning says so, and `cost` counts it.
"""

from reason_decode.strategies.best_of_n import BestOfN
from reason_decode.strategies.chat import Response
from reason_decode.strategies.particle_filter import ParticleFilter
from reason_decode.strategies.rationale_guided import RationaleGuided
from reason_decode.strategies.selection import BestOfNSelector, VoteSelector
from reason_decode.strategies.self_consistency import SelfConsistency
from reason_decode.strategies.step_search import StepSearch

__all__ = [
    "BestOfN",
    "BestOfNSelector",
    "ParticleFilter",
    "RationaleGuided",
    "Response",
    "SelfConsistency",
    "StepSearch",
    "VoteSelector",
]
