"""Decoding with a model behind a server of OpenAI's API: candidates from there, the choice here."""

from reason_decode.serving.completion import EndpointCompleter

__all__ = ["EndpointCompleter"]
