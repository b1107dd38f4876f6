"""Nats by which a context lowers the loss of the text after it, without building logits.

python examples/loss_delta.py
"""

import torch

from reason_decode.kernels import loss_delta

torch.manual_seed(0)
tokens, hidden_size, vocabulary = 6, 64, 50_000
weight = torch.randn(vocabulary, hidden_size)  # the output layer of a language model
targets = torch.randint(vocabulary, (tokens,))  # the text whose loss is measured
# Last hidden states of the same tokens after two contexts: with a rationale and without it.
without_rationale = torch.randn(tokens, hidden_size)
with_rationale = without_rationale + 0.1 * weight[targets]
segments = torch.tensor([0, 4, tokens])  # two segments: tokens 0 to 3, tokens 4 and 5

result = loss_delta(with_rationale, without_rationale, weight, targets, segments, discount=0.9)
print("nats that the rationale saves per segment:", result.sums.tolist())
print("kept:", result.passed.tolist())
