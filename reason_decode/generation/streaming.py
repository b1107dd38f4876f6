"""What is decided of an answer, handed to a streamer before the rest is known."""

from torch import Tensor
from transformers.generation.streamers import BaseStreamer


class Stream:
    """Puts each token of the answer once, as soon as no choice to come can change it.

    Args:
        need: the strategy's name, for messages.
        streamer: takes token ids; ``None``: nobody listens.
        rows: sequences that will be returned.

    Raises:
        ValueError: a streamer for more than one sequence.
    """

    def __init__(self, need: str, streamer: BaseStreamer | None, rows: int) -> None:
        if streamer is not None and rows != 1:
            raise ValueError(
                f"{need} can stream one sequence; got {rows}: pass one prompt and "
                "num_return_sequences=1, or drop the streamer"
            )
        self.streamer, self.count = streamer, 0

    def open(self, prompt: Tensor) -> None:
        """Put the prompt, (1, t) int64, as ``generate`` does; a streamer may skip it."""
        if self.streamer is not None:
            self.streamer.put(prompt.cpu())

    def commit(self, tokens: Tensor) -> None:
        """Put what is new in the beginning of the answer, (t,) int64, that is sure by now."""
        if self.streamer is not None and len(tokens) > self.count:
            self.streamer.put(tokens[self.count :].cpu())
            self.count = len(tokens)

    def close(self) -> None:
        """Tell the streamer that nothing follows; who waits for more would wait forever."""
        if self.streamer is not None:
            self.streamer.end()
