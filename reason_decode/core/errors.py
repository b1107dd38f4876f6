"""Errors of single items that a run sets aside and goes on without."""


class ScoringError(ValueError):
    """A solution cannot be scored, such as one with a NaN score."""


class ItemError(ValueError):
    """An item of a batch cannot be done; halves of the batch show which."""
