"""Errors of single items, which a run sets aside while it continues with the others."""


class ScoringError(ValueError):
    """A solution that cannot be scored, for example because its score is NaN."""


class ItemError(ValueError):
    """An item of a batch that cannot be done; the batch is split to find out which."""
