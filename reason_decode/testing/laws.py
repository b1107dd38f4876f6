"""The exception that every check raises."""

__all__ = ["LawBroken"]


class LawBroken(AssertionError):
    """A law does not hold; the message names it."""
