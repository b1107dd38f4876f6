"""Experimental: a linear ranker without a network, and the equations that it checks.

No paper proposes it; it is here to be compared with. ``NGramRanker`` scores a solution by a linear
model over its words, the form of its answer, and which of its own equations hold
(``equations.links``). It is trained by ``reason_decode.training.train_ngram_ranker``. Its features
may change, and then saved weights are worthless.
"""

from reason_decode.scorers.ngram.ranker import NGramRanker

__all__ = ["NGramRanker"]
