"""Step search with a process reward model; every step that it saw becomes a web page.

python examples/step_search_trace.py trace.html
"""

import sys
from pathlib import Path

import torch

from reason_decode import StepSearch, tiny
from reason_decode.viewer import render_page

models = tiny.load()
torch.manual_seed(0)
search = StepSearch(models.prm, tokenizer=models.tokenizer, n=8, beam_width=4)
inputs = models.tokenizer(["Make 24 from 1 4 4 8.\n"], return_tensors="pt")
out = models.model.generate(
    **inputs,
    max_new_tokens=96,
    do_sample=True,
    return_dict_in_generate=True,
    custom_generate=search,
)
best = out.traces[0].best
for step, score in zip(best.steps, best.scores, strict=True):
    print(f"{score:.2f}  {step}")
target = Path(sys.argv[1] if len(sys.argv) > 1 else "trace.html")
target.write_text(render_page(out.traces), encoding="utf-8")
print("every step that was tried:", target)
