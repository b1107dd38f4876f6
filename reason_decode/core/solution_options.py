"""Options of how solutions are read: where their steps end."""

from dataclasses import dataclass
from typing import Any

from reason_decode.core.splitting import StepSplitter

__all__ = ["SolutionOptions"]


@dataclass(frozen=True, kw_only=True)
class SolutionOptions:
    r"""Options of reading solutions.

    Args:
        step_separator: text that ends a step, or several; ``\n`` is a newline (default: as the
            scorer has it).
        step_pattern: regular expression whose matches end steps.
        step_tokens: number of tokens of a step.

    Raises:
        ValueError: more than one of the ways to split is given, or one is no separator, pattern or
            number.
    """

    step_separator: tuple[str, ...] = ()
    step_pattern: str | None = None
    step_tokens: int | None = None

    def __post_init__(self) -> None:
        _ = self.splitter

    @property
    def splitter(self) -> StepSplitter | None:
        """The splitter of these options; ``None`` where none is given."""
        separators: Any = tuple(x.replace("\\n", "\n") for x in self.step_separator) or None
        if separators is None and self.step_pattern is None and self.step_tokens is None:
            return None
        if separators is not None and len(separators) == 1:
            (separators,) = separators
        return StepSplitter(separators, pattern=self.step_pattern, tokens=self.step_tokens)
