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
| `SelfConsistency(n=8)` | a solution with the answer of most votes | 2203.11171 |
| `SelfConsistency(n=8, scorer=prm)` | the same, votes weighted by scores | 2206.02336, 2312.12832 |
| `StepSearch(scorer, n=4, beam_width=1)` | step by step, the best of n next steps | 2408.03314 |
| `RationaleGuided(rationalyst, n=3)` | the likeliest step under a rationale | 2410.01044 |

A strategy is a frozen object that holds a tokenizer and a scorer and keeps nothing between calls.
Everything else comes from `generate`: sampling options, batches, left padding, logits processors.
A call that cannot work (`num_beams`, an assistant model, a cache that cannot be branched) is
refused before the first forward pass, and the message says what to do instead.

## Token limits

`max_tokens=` limits the tokens sampled for a prompt over all its candidates, in every strategy; the
best found by then is returned. `SelfConsistency(early_stop=0.93)` samples fewer than n solutions
where the vote is clear. `StepSearch(lookahead=k)` ranks a step by where k more steps of greedy
decoding lead. `StepSearch(margin=0.5)` drops trajectories far below the best.

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

Llama, Qwen3, Mistral and Gemma-3 with sliding windows, GPT-2, Phi-3, OPT, Falcon, Mixtral and
Qwen3-MoE; in pipelines with strings, chats and batches; compiled, and with a device map; under
transformers 5.18 and 5.23 and under lm-eval. Models whose state cannot be branched (Mamba, LFM2,
Qwen3-Next) are refused with the reason.
"""

from reason_decode.strategies.best_of_n import BestOfN
from reason_decode.strategies.chat import Response
from reason_decode.strategies.rationale_guided import RationaleGuided
from reason_decode.strategies.selection import BestOfNSelector, VoteSelector
from reason_decode.strategies.self_consistency import SelfConsistency
from reason_decode.strategies.step_search import StepSearch

__all__ = [
    "BestOfN",
    "BestOfNSelector",
    "RationaleGuided",
    "Response",
    "SelfConsistency",
    "StepSearch",
    "VoteSelector",
]
