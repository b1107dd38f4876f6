r"""Ways to spend computation on a better answer, each a ``custom_generate`` callable.

A strategy is a frozen object. It holds the tokenizer and the scorer, keeps nothing between calls,
and takes everything else from `generate` and its configuration: sampling options, batches, left
padding, logits processors. What cannot work with it (`num_beams`, an assistant, a cache that cannot
be branched) is refused before the first forward pass, with what to do instead.

With `return_dict_in_generate=True` the result holds, beside the tokens, a trace of every candidate
for each prompt and the tokens that each model read:

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

## Budgets

`max_tokens=` caps what is sampled of a prompt over all its candidates, in `BestOfN`,
`SelfConsistency` and `StepSearch`; what has been found by then wins. `StepSearch(lookahead=k)`
ranks a step by the score of where greedy decoding goes in k more. `SelfConsistency(early_stop=0.93)`
asks for fewer samples where the vote is clear.

## Streams

A strategy hands its `streamer=` each step as soon as no choice to come can change it (`generate`
drops a streamer of its own before it reaches a callable):

```python
from transformers import TextStreamer

streamer = TextStreamer(t.tokenizer, skip_special_tokens=True)
streaming = StepSearch(t.prm, tokenizer=t.tokenizer, n=8, streamer=streamer)
```

## Folders

`save_pretrained` writes a folder that `generate` takes by name, from disk or from the Hub, where no
line of code can be changed but a string can: `custom_generate="folder", trust_remote_code=True`. So
do `pipeline(...)` and lm-evaluation-harness
(`--gen_kwargs custom_generate=folder,trust_remote_code=True`), and there `streamer=` and the
strategy's own arguments (`n=32`) can be passed along.

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

## Rationales

A rationale model writes, before each step, what would make the next one likely (RATIONALYST). With
`RationaleGuided` the step is kept that is likeliest under the rationale, or the generator reads it
too (`supervision="explicit"`):

```python
from reason_decode import RationaleGuided, RationaleScorer

rationalyst = RationaleScorer.from_pretrained("you/your-rationale-model", model, tokenizer)
guided = RationaleGuided(rationalyst, tokenizer=tokenizer, n=3, supervision="implicit")
out = model.generate(**inputs, do_sample=True, max_new_tokens=512, custom_generate=guided)
```

## Which models

Each strategy is tested on Llama, Qwen3, Mistral and Gemma-3 with sliding windows, GPT-2, Phi-3,
OPT, Falcon, Mixtral and Qwen3-MoE; in pipelines with strings, chats and batches; compiled, and with
a device map; under transformers 5.18 and 5.23 and under lm-eval. Models whose state cannot be
branched (Mamba, LFM2, Qwen3-Next) are refused with the reason.
"""

from reason_decode.strategies.best_of_n import BestOfN
from reason_decode.strategies.rationale_guided import RationaleGuided
from reason_decode.strategies.self_consistency import SelfConsistency
from reason_decode.strategies.step_search import StepSearch

__all__ = ["BestOfN", "RationaleGuided", "SelfConsistency", "StepSearch"]
