"""The exception of every check in this room."""

__all__ = ["LawBroken"]


class LawBroken(AssertionError):
    """A law does not hold; the message names it."""
