"""Formulas of vote weights that were learnt, as text: ``0.25+sigmoid(2.1*s-0.4)``."""

import math
import re
from typing import NamedTuple

__all__ = ["LearnedWeights", "sigmoid"]

_NUMBER = r"\d+(?:\.\d+)?(?:e-?\d+)?"
_FORMULA = re.compile(rf"(?:({_NUMBER})\+)?sigmoid\((-?{_NUMBER})\*s([+-]{_NUMBER})\)")


class LearnedWeights(NamedTuple):
    """The weight of a vote by a solution's score s: ``base + sigmoid(slope * s + intercept)``.

    The sigmoid is the probability that a solution of this score is right; with a great base all
    votes count alike. ``1+s`` and ``s`` of a scorer that is calibrated have the bases 1 and 0.

    Attributes:
        base: at least 0.
        slope: of the probability.
        intercept: of the probability.

    Examples:
        >>> str(LearnedWeights(0.25, 2.1, -0.4))
        '0.25+sigmoid(2.1*s-0.4)'
        >>> LearnedWeights.parse("sigmoid(1*s+0)").weights([0.0])
        [0.5]
    """

    base: float
    slope: float
    intercept: float

    def weights(self, scores: "list[float]") -> list[float]:
        """The weight of each score."""
        return [self.base + sigmoid(self.slope * s + self.intercept) for s in scores]

    def __str__(self) -> str:
        """The formula, with six digits of each number."""
        base = f"{_short(self.base)}+" if self.base else ""
        sign = "-" if self.intercept < 0 else "+"
        return f"{base}sigmoid({_short(self.slope)}*s{sign}{_short(abs(self.intercept))})"

    @classmethod
    def parse(cls, text: str) -> "LearnedWeights":
        """The formula of a text.

        Raises:
            ValueError: it is none.
        """
        found = _FORMULA.fullmatch(text)
        if found is None:
            raise ValueError(
                f"got the formula {text!r}; need one such as '0.25+sigmoid(2.1*s-0.4)', as `train "
                "vote-weights` prints it"
            )
        base, slope, intercept = found.groups()
        return cls(float(base or 0), float(slope), float(intercept))

    @classmethod
    def matches(cls, text: object) -> bool:
        """True if a text is such a formula."""
        return isinstance(text, str) and _FORMULA.fullmatch(text) is not None


def sigmoid(x: float) -> float:
    """``1 / (1 + exp(-x))``, in a form that overflows for no x."""
    return 0.5 * (1 + math.tanh(x / 2))


def _short(x: float) -> str:
    text = f"{x:.6g}"
    return text.replace("e+", "e")
