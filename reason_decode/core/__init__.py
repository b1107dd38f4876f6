"""Data and text, without models: solutions and their steps, messages, answers, votes.

- ``solutions``: the steps of a solution, and ``Candidate``, ``Step``, ``Trace`` and ``Cost``, the
  records of decoding it
- ``messages``: the conversation behind a rendered prompt, and the question that a scorer is asked
- ``answers``: extracting the final answer of a text, and comparing two
- ``voting``: votes over answers, and when a vote is decided
- ``options``: the options of decoding that commands and configs share
- ``tags``, ``errors``, ``lazy``: tags of rationales, errors of single items, lazy package names

No module here imports torch or transformers.
"""
