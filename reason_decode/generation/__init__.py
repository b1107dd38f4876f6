"""The decoding engine: from a call of ``generate`` to the operations that strategies are made of.

A call enters these files:

- ``engine``: ``Generation``, one ``generate`` call as prefill, sample, branch and resume
- ``sampling``: batches, the branches sampled from them, and the token-by-token loop
- ``row_processors``: processors and criteria, called as plain ``generate`` would
- ``cache``: key-value caches, taken apart into rows and stacked again

and these only where it asks for them:

- ``row_state``: processors with a state, or an entry, for each row
- ``parts``: rows that do not fit side by side
- ``rereading``: models whose state cannot be copied
- ``layers``: recurrent layers, and layers with a sliding window
- ``context``: ids that the model reads without having generated them
- ``streaming``: streamers
- ``output``: the returned object

Only ``engine`` touches transformers' private generation API.
"""
