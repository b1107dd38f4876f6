"""The stream of an answer's tokens to a streamer."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.generation.streamers import BaseStreamer

__all__ = ["AnswerStream", "common_prefix"]


class AnswerStream:
    """Passes each token of the answer to a streamer once, when no later choice can change it.

    Args:
        strategy_name: the strategy's class name, for the error message.
        streamer: receives token ids.
        rows: number of sequences that will be returned.

    Raises:
        ValueError: a streamer for more than one sequence.
    """

    def __init__(self, strategy_name: str, streamer: BaseStreamer, rows: int) -> None:
        if rows != 1:
            raise ValueError(
                f"{strategy_name} can stream one sequence; got {rows}: pass one prompt and "
                "num_return_sequences=1, or drop the streamer"
            )
        self.streamer, self.count = streamer, 0

    def open(self, prompt: Tensor) -> None:
        """Pass the prompt (1, t) int64, as ``generate`` does; streamers may skip it."""
        self.streamer.put(prompt.cpu())

    def commit(self, tokens: Tensor) -> None:
        """Pass the tokens that are new in a longer, decided beginning of the answer.

        Args:
            tokens: the whole beginning of the answer that is decided so far, (t,) int64.
        """
        if len(tokens) > self.count:
            self.streamer.put(tokens[self.count :].cpu())
            self.count = len(tokens)

    def close(self) -> None:
        """End the stream; a reader of it would otherwise wait for more."""
        self.streamer.end()


def common_prefix(rows: Sequence[Tensor]) -> Tensor:
    """The ids that all rows begin with, (t,) int64; there is at least one row."""
    shortest = min(map(len, rows))
    ids = torch.stack([row[:shortest] for row in rows])
    agree = (ids == ids[0]).all(dim=0).long().cumprod(dim=0)
    return ids[0, : int(agree.sum())]
