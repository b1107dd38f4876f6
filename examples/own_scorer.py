"""A scorer of your own: two names are enough for every strategy.

python examples/own_scorer.py
"""

import torch

from reason_decode import BestOfN, Scorer, tiny
from reason_decode.testing import check_scorer


class Brevity(Scorer):
    """Prefers solutions with fewer characters."""

    score_space = "reward"  # any real number; higher is better

    def score(self, prompts, solutions):
        """One reward per step: minus its length in characters."""
        steps = [self.splitter.split(x) if isinstance(x, str) else list(x) for x in solutions]
        return [torch.tensor([-float(len(step)) for step in group]) for group in steps]


models = tiny.load()
check_scorer(Brevity())  # the laws that a scorer must keep
inputs = models.tokenizer(["Make 24 from 4 5 6 10.\n"], return_tensors="pt")
out = models.model.generate(
    **inputs,
    max_new_tokens=96,
    do_sample=True,
    return_dict_in_generate=True,
    custom_generate=BestOfN(Brevity(), tokenizer=models.tokenizer, n=8),
)
print(out.traces[0].best.text)
