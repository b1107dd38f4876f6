"""Texts of a server as token ids, and token ids as the text that a server is sent."""

from collections.abc import Sequence

from torch import Tensor
from transformers import PreTrainedTokenizerBase

__all__ = ["TextIds"]

_CONTEXT = 32
"""Tokens before a text that are decoded with it: more do not change how it begins."""


class TextIds:
    """Turns texts into ids and back by the tokenizer of a server's model.

    Args:
        tokenizer: that of the model.

    Attributes:
        end: id of the end of sequence; ``None``: there is none.
        pad_token_id: fills rows of ids.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        ids = (tokenizer.pad_token_id, tokenizer.eos_token_id)
        self.end = ids[1] if isinstance(ids[1], int) else None
        self.pad_token_id = next((x for x in ids if isinstance(x, int)), 0)
        # What a server's tokenizer puts before a text, too.
        self._added = list(tokenizer("")["input_ids"])

    def text(self, ids: Tensor) -> str:
        """Ids (t,) as the text from which a server's tokenizer makes them again."""
        rest = ids.tolist()
        if rest[: len(self._added)] == self._added:
            rest = rest[len(self._added) :]
        return self.decode(rest)

    def ids(self, before: Sequence[int], text: str) -> tuple[int, ...]:
        """The ids of a text that follows other ids, so that all together decode to its text."""
        ids = self._encode(text)
        tail = list(before[-_CONTEXT:])
        if not tail or self.decode([*tail, *ids]) == self.decode(tail) + text:
            return tuple(ids)
        # A tokenizer of words takes a beginning for the beginning of a word.
        line = self._encode("\n")
        anchored = self._encode("\n" + text)
        return tuple(anchored[len(line) :] if anchored[: len(line)] == line else ids)

    def length_to(self, before: Sequence[int], ids: Sequence[int], stops: Sequence[str]) -> int:
        """Number of ids up to the end of the first of some texts; that of all ids plus 1 if none.

        Args:
            before: ids in front, which may hold the beginning of such a text.
            ids: the ids.
            stops: the texts.
        """
        tail = list(before[-_CONTEXT:])

        def is_past(count: int) -> bool:
            text = self.decode([*tail, *ids[:count]])
            return any(stop in text for stop in stops)

        low, high = 1, len(ids) + 1
        if not ids or not is_past(len(ids)):
            return high
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if is_past(middle) else (middle + 1, high)
        return low

    def decode(self, ids: Sequence[int]) -> str:
        """Ids as text with special tokens and all spaces."""
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
