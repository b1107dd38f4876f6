"""The decoding engine: from a call of ``generate`` to the operations that strategies are made of.

- ``engine``: ``Generation``, one ``generate`` call, checked, as prefill, sample, branch and resume
- ``sampling``: the token-by-token loop, and the streamed tokens
- ``batch``: the sequences of a batch, the branches sampled from it, and their key-value caches
- ``output``: the returned object

Only ``engine`` touches transformers' private generation API.
"""
