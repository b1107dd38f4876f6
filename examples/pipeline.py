"""A strategy inside a transformers pipeline.

python examples/pipeline.py
"""

from typing import Any

import torch
from transformers import pipeline

from reason_decode import BestOfN, tiny

models = tiny.load()
torch.manual_seed(0)
tokenizer: Any = models.tokenizer
generator = pipeline("text-generation", model=models.model, tokenizer=tokenizer)
answers = generator(
    ["Make 24 from 4 5 6 10.\n", "Make 24 from 1 4 4 8.\n"],
    batch_size=2,
    max_new_tokens=96,
    do_sample=True,
    custom_generate=BestOfN(models.verifier, tokenizer=models.tokenizer, n=8),
)
for (answer,) in answers:
    print(answer["generated_text"])
