"""Tags that mark a rationale in a text."""

from typing import NamedTuple


class Tags(NamedTuple):
    """The texts before and after a rationale.

    Source: RATIONALYST's samplers and filter (JHU-CLSP/RATIONALYST at be0b1cf).
    """

    opening: str = "<BOT>"
    closing: str = "<EOT>"

    def around(self, rationale: str) -> str:
        """The rationale between its tags."""
        return f"{self.opening}{rationale}{self.closing}"


TAGS = Tags()
