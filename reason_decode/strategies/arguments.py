"""Checks of the counts that strategies take."""

__all__ = ["check_max_tokens", "check_positive", "check_positive_or_none"]


def check_positive(**counts: int) -> None:
    """Raise unless every count is a whole number of at least 1.

    Raises:
        ValueError: one is not.
    """
    for name, count in counts.items():
        # bool is a subclass of int, so True would pass for 1.
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"got {name}={count!r}; pass a whole number of at least 1")


def check_positive_or_none(**counts: int | None) -> None:
    """Raise unless every count is ``None`` or a whole number of at least 1.

    Raises:
        ValueError: one is neither.
    """
    check_positive(**{name: count for name, count in counts.items() if count is not None})


def check_max_tokens(max_tokens: int | None, candidates: int) -> None:
    """Raise unless a limit leaves a token for each candidate that is sampled side by side.

    Raises:
        ValueError: it does not, or is no whole number of at least 1.
    """
    check_positive_or_none(max_tokens=max_tokens)
    if max_tokens is not None and max_tokens < candidates:
        raise ValueError(
            f"got max_tokens={max_tokens}; {candidates} candidates are sampled side by side and "
            f"need a token each: pass at least {candidates}, or None for no limit"
        )
