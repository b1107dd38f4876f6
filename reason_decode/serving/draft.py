"""A continuation that a server writes in one or several requests."""

from collections.abc import Sequence

import torch
from torch import Tensor

from reason_decode.core.splitting import Boundary, Pause
from reason_decode.generation.row_state import Row
from reason_decode.generation.sampling import Branch
from reason_decode.generation.token_stats import TOP, TokenStats
from reason_decode.io.completions import Choice
from reason_decode.serving.text_ids import TextIds

__all__ = ["Draft"]


class Draft:
    """A continuation of a row, until a boundary, its budget or the model itself ends it.

    Args:
        row: the row as it was.
        ids: all ids that the server continues, (t,) int64.
        remaining: how many more tokens it may get, at least 1.
        boundary: says where it pauses; ``None``: nowhere.
        stop_strings: texts that end an answer.
        text_ids: turns ids into text.

    Attributes:
        pause: the next place to look at for the boundary.
        is_over: nothing more is asked for.
    """

    def __init__(
        self,
        row: Row,
        ids: Tensor,
        remaining: int,
        boundary: Boundary | None,
        stop_strings: Sequence[str],
        text_ids: TextIds,
    ) -> None:
        self.row, self.ids, self.remaining, self.boundary = row, ids, remaining, boundary
        self.stop_strings, self.text_ids = stop_strings, text_ids
        self.pause = self._next_pause([])
        self.is_over = False
        self._finished = False
        self._tokens: list[int] = []
        self._stats: list[tuple[float, float]] = []

    @property
    def all_ids(self) -> list[int]:
        """All ids that the server continues by now."""
        return [*self.ids.tolist(), *self._tokens]

    @property
    def most_tokens(self) -> int:
        """Most tokens of the next request."""
        return min(self.remaining, self.pause.tokens or self.remaining)

    def holds_boundary(self, text: str) -> bool:
        """True if the boundary is in a text that follows."""
        stops = self.pause.stops
        if stops and not any(stop in text for stop in stops):
            return False
        return self._length_to_boundary(self.text_ids.ids(self.all_ids, text)) is not None

    def extend(self, choice: Choice, streamed: bool) -> int:
        """Add a completion up to the boundary, or to a text that ends the answer.

        Args:
            choice: the completion.
            streamed: whether only ``stop_strings`` were sent as stop strings.

        Returns:
            Number of tokens that were sampled, those behind the boundary included.
        """
        ended = self._ended_by_itself(choice, streamed)
        ids = choice.token_ids
        if ids is None:
            ids = self.text_ids.ids(self.all_ids, choice.text)
            # Its end of sequence was sampled, too, which few servers write.
            end = self.text_ids.end
            ids = (*ids, end) if ended and end not in (None, *ids[-1:]) else ids
        boundary, asked = self._length_to_boundary(ids), self.most_tokens
        length = len(ids) if boundary is None else boundary
        if self.stop_strings:
            answer = [*self.row.answer.tolist(), *self._tokens]
            stop = self.text_ids.length_to(answer, ids[:length], self.stop_strings)
            self._finished, length = stop <= length, min(stop, length)
        self._finished |= ended and length == len(ids)
        self._tokens += ids[:length]
        self._stats += list(_stats(choice))[:length]
        # The server's tokens may be more than those of its text.
        spent = asked if choice.end == "length" and length == len(ids) else max(1, length)
        self.remaining -= spent
        known = choice.end in ("stop", "length", None)
        self.remaining = self.remaining if known else 0
        self.is_over = self._finished or boundary is not None or self.remaining <= 0
        self.pause = self._next_pause(self._tokens)
        return len(ids)

    def branch(self, branchable: bool) -> Branch:
        """The continuation as a branch.

        Args:
            branchable: keep what is needed to continue it.
        """
        tokens, stopped = self._new_ids(), self._finished or self.remaining <= 0
        remaining, stats = max(self.remaining, 0), None
        if self._stats:
            logps, confidences = torch.tensor(self._stats).T
            # The whole distributions, which these are made of, stay at the server.
            unknown = torch.full_like(logps, torch.nan)
            stats = TokenStats(logps, unknown, confidences, unknown)
        if stopped or not branchable:
            return Branch(tokens, self._finished, stopped, remaining, stats=stats)
        row = self.row._replace(answer=torch.cat([self.row.answer, tokens]))
        ids = torch.cat([self.ids, tokens])
        return Branch(tokens, False, False, remaining, row, ids, stats=stats)

    def prompt(self) -> Tensor:
        """All ids that the next request continues, (t,) int64."""
        return torch.cat([self.ids, self._new_ids()])

    def _new_ids(self) -> Tensor:
        return torch.tensor(self._tokens, dtype=torch.long)

    def _next_pause(self, tokens: Sequence[int]) -> Pause:
        return Pause() if self.boundary is None else self.boundary.pause(tokens)

    def _length_to_boundary(self, ids: Sequence[int]) -> int | None:
        """Number of new ids up to the boundary; ``None`` if they do not hold it."""
        if self.boundary is None:
            return None
        tokens = list(self._tokens)
        for length, token in enumerate(ids, start=1):
            tokens.append(token)
            if self.boundary(tokens):
                return length
        return None

    def _ended_by_itself(self, choice: Choice, streamed: bool) -> bool:
        """True if no stop string ended a completion, but its end of sequence."""
        stops = [*self.stop_strings, *(() if streamed else self.pause.stops)]
        return choice.end == "stop" and not any(stop in choice.text for stop in stops)


def _stats(choice: Choice) -> Sequence[tuple[float, float]]:
    """Log-probability of each token, and the confidence of its place; see ``TokenStats``."""
    if choice.logps is None or choice.top_logps is None:
        return []
    tops = (sorted(top, reverse=True)[:TOP] for top in choice.top_logps)
    confidences = [-sum(top) / len(top) for top in tops]
    return list(zip(choice.logps, confidences, strict=True))
