"""The decoding engine: from a call of ``generate`` to the operations that strategies are made of.

- ``engine``: ``Generation``, one ``generate`` call as prefill, sample, branch and resume
- ``validation``: checks of a call before any forward pass
- ``sampling``: the token-by-token loop, and the streamed tokens
- ``row_processors``, ``row_state``: processors and criteria, called as plain ``generate`` would
- ``batch``: the sequences of a batch, the branches sampled from it, and their caches
- ``context``: ids that the model reads without having generated them
- ``layers``: layers of a cache, whose rows are selected, copied and merged
- ``output``: the returned object

Only ``engine`` touches transformers' private generation API.
"""
