"""Models and tokenizers: loading, heads, token ids, padding, positions, devices.

- ``loading``, ``checkpoint``: models from a folder or the Hub, complete and from safetensors only
- ``heads``: reward heads, and the output layer of a language model
- ``tokenization``: texts and chats as token ids
- ``padding``: ``pad_rows``, rows of ids as a batch
- ``positions``, ``attention``: the longest sequence, and the masks that a model supports
- ``devices``: the device to run on, and whether it computes in bfloat16
"""
