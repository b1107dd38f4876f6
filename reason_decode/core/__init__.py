"""Data and text, without models: records, steps, messages, answers, votes.

- ``records``: ``Candidate``, ``Step``, ``Trace`` and ``Cost``, the results of decoding
- ``steps``: the ends of steps in text and in sampled tokens
- ``messages``: the conversation behind a rendered prompt, and back
- ``answers``: extracting the final answer of a text, and comparing two
- ``voting``: votes over answers, and when a vote is decided
- ``options``: the options of decoding that commands and configs share
- ``tags``, ``errors``, ``lazy``: tags of rationales, errors of single items, lazy package names

No module here imports torch or transformers.
"""
