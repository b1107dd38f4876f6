"""Files, servers and the terminal, without models.

- ``jsonl``: JSON Lines with malformed rows set aside, and files that are written atomically
- ``journal``: the results of a run, in a file that survives a kill
- ``openai_client``: chats and texts completed by an OpenAI-compatible server
- ``oom``: a batch that runs out of memory is retried in halves
- ``console``: tables, colours, and model text made safe to print

No module here imports torch or transformers.
"""
