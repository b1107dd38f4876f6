"""Models and tokenizers: loading, heads, inputs, devices.

- ``loading``, ``checkpoint``: models from a folder or the Hub, complete and from safetensors only
- ``heads``: reward heads
- ``lm_head``: next-token logits of language models
- ``wrapped``: models inside peft's wrappers
- ``inputs``: texts and chats as token ids, rows of ids as a batch, and what a model can read
- ``chat_template``: conversations as text
- ``attention``: the masks that a model supports
- ``devices``: the device to run on, and whether it computes in bfloat16
"""
