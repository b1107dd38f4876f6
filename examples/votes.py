"""Self-consistency: sample 16 solutions and return the answer with the most votes.

python examples/votes.py
"""

import torch

from reason_decode import SelfConsistency, tiny

models = tiny.load()
torch.manual_seed(0)
inputs = models.tokenizer(["((1 + 2 * -3) - (4 * 5)) =\n"], return_tensors="pt")
plain = SelfConsistency(tokenizer=models.tokenizer, n=16)
# The same vote, each solution counting as much as the verifier believes it.
weighted = SelfConsistency(tokenizer=models.tokenizer, n=16, scorer=models.verifier)

for name, vote in (("one vote each", plain), ("votes weighted by a verifier", weighted)):
    out = models.model.generate(
        **inputs,
        max_new_tokens=256,
        do_sample=True,
        return_dict_in_generate=True,
        custom_generate=vote,
    )
    print(name, out.traces[0].votes, "->", out.traces[0].best.answer)
