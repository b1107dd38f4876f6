"""The decoding engine: from a call of ``generate`` to the operations that strategies are made of.

- ``engine``: ``Generation``, one ``generate`` call as prefill, sample, branch and resume
- ``sampling``: the token-by-token loop
- ``batch``: the sequences of a batch, and the branches sampled from it
- ``cache``: key-value caches taken apart into rows and stacked again
- ``validation``: checks of a call before any forward pass
- ``step_boundary``, ``streaming``, ``output``: ends of steps, streamed tokens, the returned object

Only ``engine`` touches transformers' private generation API.
"""
