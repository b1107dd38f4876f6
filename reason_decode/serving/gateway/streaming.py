"""Text of tokens as they are decided: a streamer, and the end at a stop text."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase
from transformers.generation.streamers import BaseStreamer

from reason_decode.models.inputs import decode

__all__ = ["DeltaStreamer", "StopCutter", "cut_at_stop"]


class DeltaStreamer(BaseStreamer):
    """Streamer that passes on the new text of each piece of an answer.

    Only the ids since the last but one piece are decoded again: a tokenizer may need the ids before
    a token to know its text, such as its leading space.

    Args:
        tokenizer: the generator's tokenizer.
        emit: called with new text.
        kept: ids of special tokens whose text stays, see ``special_ids``.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        emit: Callable[[str], None],
        kept: frozenset[int] = frozenset(),
    ) -> None:
        self.tokenizer, self.emit, self.kept = tokenizer, emit, kept
        self.ids: list[int] = []
        self.start = self.read = 0
        self.saw_prompt = False

    def put(self, value: Tensor) -> None:
        """Take the prompt, the first time, or further ids of the answer."""
        if not self.saw_prompt:
            self.saw_prompt = True
            return
        self.ids += value.flatten().tolist()
        before = self._decode(self.ids[self.start : self.read])
        text = self._decode(self.ids[self.start :])
        # A character of several tokens is not complete yet.
        if len(text) > len(before) and not text.endswith("\ufffd"):
            self.start, self.read = self.read, len(self.ids)
            self.emit(text[len(before) :])

    def end(self) -> None:
        """Do nothing: the reader knows the whole text at the end."""

    def _decode(self, ids: Sequence[int]) -> str:
        return decode(self.tokenizer, torch.tensor(ids, dtype=torch.long), self.kept)


class StopCutter:
    """Holds back the text that may be the beginning of a stop text, and all that follows one.

    Args:
        stop: the stop texts.

    Examples:
        >>> cutter = StopCutter(["END"])
        >>> [cutter.add(text) for text in ("1 E", "2 E", "N", "D 3")]
        ['1 ', 'E2 ', '', '']
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self.stop, self.held, self.ended = stop, "", False
        self.sent = 0

    def add(self, text: str) -> str:
        """The text that can be passed on, given more of it."""
        if self.ended:
            return ""
        text = self.held + text
        cut = cut_at_stop(text, self.stop)
        self.ended = len(cut) < len(text)
        held = max((_overlap(text, one) for one in self.stop), default=0)
        keep = len(cut) if self.ended else len(text) - held
        self.held = "" if self.ended else text[keep:]
        self.sent += keep
        return text[:keep]

    def rest(self, text: str) -> str:
        """The part of the whole text that was not passed on yet."""
        return text[self.sent :]


def cut_at_stop(text: str, stop: Sequence[str]) -> str:
    """The text up to the stop text that ends first in it, as if it came letter by letter.

    Examples:
        >>> cut_at_stop("a; b. c", [".", ";"])
        'a'
    """
    found = [(place + len(one), place) for one in stop if (place := text.find(one)) >= 0]
    return text[: min(found)[1]] if found else text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of the text that a stop text begins with."""
    longest = min(len(text), len(stop) - 1)
    return next((k for k in range(longest, 0, -1) if text.endswith(stop[:k])), 0)
