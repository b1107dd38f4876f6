"""Tokens of the answer for a streamer, as soon as they are decided."""

from torch import Tensor
from transformers.generation.streamers import BaseStreamer


class AnswerStream:
    """Passes each token of the answer to a streamer once, when no later choice can change it.

    Args:
        strategy_name: the strategy's class name, for the error message.
        streamer: receives token ids; ``None`` to stream nothing.
        rows: number of sequences that will be returned.

    Raises:
        ValueError: a streamer for more than one sequence.
    """

    def __init__(self, strategy_name: str, streamer: BaseStreamer | None, rows: int) -> None:
        if streamer is not None and rows != 1:
            raise ValueError(
                f"{strategy_name} can stream one sequence; got {rows}: pass one prompt and "
                "num_return_sequences=1, or drop the streamer"
            )
        self.streamer, self.count = streamer, 0

    def open(self, prompt: Tensor) -> None:
        """Pass the prompt (1, t) int64, as ``generate`` does; streamers may skip it."""
        if self.streamer is not None:
            self.streamer.put(prompt.cpu())

    def commit(self, tokens: Tensor) -> None:
        """Pass the tokens that are new in a longer, decided beginning of the answer.

        Args:
            tokens: the whole beginning of the answer that is decided so far, (t,) int64.
        """
        if self.streamer is not None and len(tokens) > self.count:
            self.streamer.put(tokens[self.count :].cpu())
            self.count = len(tokens)

    def close(self) -> None:
        """End the stream; a reader of it would otherwise wait for more."""
        if self.streamer is not None:
            self.streamer.end()
