"""RATIONALYST: a rationale is written before each step, and the likeliest step under it is kept.

python examples/rationale_guided.py
"""

import torch

from reason_decode import RationaleGuided, tiny

models = tiny.load()
torch.manual_seed(0)
guided = RationaleGuided(models.rationalyst, tokenizer=models.tokenizer, n=3, max_steps=4)
inputs = models.tokenizer(["Make 24 from 4 5 6 10.\n"], return_tensors="pt")
out = models.model.generate(
    **inputs,
    max_new_tokens=96,
    do_sample=True,
    return_dict_in_generate=True,
    custom_generate=guided,
)
for candidates in out.traces[0].rounds:
    chosen = next(step for step in candidates if step.kept)
    print("rationale:", (chosen.rationale or "").splitlines()[-1:])
    print("step:     ", chosen.text)
