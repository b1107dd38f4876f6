"""Limits of the models of scorers: positions that they were made for, caches not to go on from."""

import warnings
from collections.abc import Sequence

from transformers import PreTrainedModel

from reason_decode.models.inputs import EncodedSolution, learned_positions, max_positions
from reason_decode.scorers.causal_reader import CausalReader

__all__ = ["check_lengths", "warn_of_rereading"]


def check_lengths(reader: CausalReader, encoded: Sequence[EncodedSolution]) -> None:
    """Raise if a text is longer than a table of positions; warn if a span is scored past them.

    Args:
        reader: the model with its layout.
        encoded: the texts.

    Raises:
        ValueError: the model has a table of learned positions, and a text is longer than it.
    """
    name = type(reader.model).__name__
    longest = max(len(text.ids) for text in encoded)
    table, limit = learned_positions(reader.model), max_positions(reader.model)
    if table is not None and longest > table:
        raise ValueError(
            f"got a prompt with steps of {longest} tokens; {name} has a table of {table} positions "
            "and cannot read on: pass shorter texts, or a scorer that reads longer ones"
        )
    last = max((text.score_positions[-1] for text in encoded if text.score_positions), default=0)
    if limit is not None and last >= limit:
        warnings.warn(
            f"{type(reader).__name__} scores steps past the {limit} positions that its {name} was "
            "made for; such scores mean little. Pass shorter texts, or a scorer that reads longer "
            "ones",
            stacklevel=3,
        )


def warn_of_rereading(model: PreTrainedModel) -> None:
    """Warn that a model cannot go on from a cache."""
    warnings.warn(
        f"got a {type(model).__name__} as a scorer, which cannot go on from a cache: it reads each "
        "text from its beginning at every step, counted in cost.scorer",
        stacklevel=4,
    )
