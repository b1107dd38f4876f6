"""How much a context lowers the loss of the text behind it, without building logits.

    python examples/loss_delta.py
"""

import torch

from reason_decode.kernels import loss_delta

torch.manual_seed(0)
tokens, hidden_size, vocabulary = 6, 64, 50_000
weight = torch.randn(vocabulary, hidden_size)
targets = torch.randint(vocabulary, (1, tokens))
# Hidden states of the same tokens, read behind two contexts: with a rationale and without it.
with_rationale = torch.randn(1, tokens, hidden_size)
without_rationale = torch.randn(1, tokens, hidden_size)

result = loss_delta(with_rationale, without_rationale, weight, targets)
print(result)
