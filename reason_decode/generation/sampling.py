"""The token-by-token sampling loop, and the stream of the tokens that it decided."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache
from transformers.generation.streamers import BaseStreamer

from reason_decode.generation.batch import Branch, DecodeBatch, select_rows, take_row
from reason_decode.generation.layers import select_cache_rows
from reason_decode.generation.row_processors import RowProcessors, RowView

__all__ = ["AnswerStream", "Boundary", "Decoder", "sample_branches"]

Boundary = Callable[[Sequence[int]], bool]
"""Given the new tokens of a row, true if sampling should pause after them."""


@dataclass(frozen=True)
class Decoder:
    """The parts of a ``generate`` call that the sampling loop needs.

    Args:
        strategy_name: the strategy's class name, for error messages.
        processors: the call's logits processors and stopping criteria.
        do_sample: draw tokens from the softmax of the scores; else take the best-scored one.
        pad_token_id: fills rows that have ended.
        forward: reads the last id of each row: ids (r, t) and model kwargs to logits (r, v) and
            updated model kwargs.
        can_select: rows can leave the batch, and be continued later.
    """

    strategy_name: str
    processors: RowProcessors
    do_sample: bool
    pad_token_id: int
    forward: Callable[[Tensor, dict[str, Any]], tuple[Tensor, dict[str, Any]]]
    can_select: bool


def sample_branches(
    decoder: Decoder, batch: DecodeBatch, boundary: Boundary | None, branchable: bool
) -> list[Branch]:
    """Continue each row until a stopping criterion, its token budget or a boundary ends it.

    Args:
        decoder: see ``Decoder``.
        batch: the rows, with logits; used up by the call.
        boundary: see ``Boundary``.
        branchable: keep of the branches what is needed to continue them.

    Returns:
        One branch a row, in order.
    """
    return _SamplingLoop(decoder, batch, boundary, branchable).run()


class _SamplingLoop:
    """State of ``sample_branches``.

    Two numberings of the rows run side by side. ``ids``, ``tokens`` and ``branches`` have an entry
    for every row from beginning to end. ``logits``, ``model_kwargs`` and the cache in it only have
    the rows that the model still reads, ``held[k]`` being the row of their k-th entry. A row that
    has ended is no longer read and costs no further forward pass, unless the model keeps its state
    in a way that does not let rows be selected.

    Logits processors, stopping criteria and the random draw see all rows, with padding behind those
    that have ended, exactly as in transformers' own loop: a call draws the same random numbers here
    as there, and whether one row ends early does not change what another one gets.
    """

    def __init__(
        self, decoder: Decoder, batch: DecodeBatch, boundary: Boundary | None, branchable: bool
    ) -> None:
        assert batch.logits is not None
        self.decoder, self.boundary, self.branchable = decoder, boundary, branchable
        self.ids, self.model_kwargs, self.logits = batch.ids, batch.model_kwargs, batch.logits
        self.remaining_tokens = batch.remaining_tokens
        self.prompt_width = batch.ids.shape[1]
        count = len(batch.ids)
        mask = batch.model_kwargs.get("attention_mask")
        self.padding = [0] * count if mask is None else (mask == 0).sum(1).tolist()
        self.view = RowView(decoder.processors, batch.rows)
        self.live = list(range(count))
        self.held = self.live
        self.tokens: list[list[int]] = [[] for _ in range(count)]
        self.branches: list[Branch | None] = [None] * count

    def run(self) -> list[Branch]:
        while True:
            self._append(self._next_tokens())
            self._remove_finished()
            if not self.live:
                return [branch for branch in self.branches if branch is not None]
            self.logits, self.model_kwargs = self.decoder.forward(
                self.ids[self.held], self.model_kwargs
            )

    def _next_tokens(self) -> Tensor:
        """The next token of every row, (r,) int64; without meaning for rows that have ended."""
        logits = self.logits
        if len(self.held) < len(self.ids):
            logits = logits.new_zeros(len(self.ids), logits.shape[-1])
            logits[self.held] = self.logits
        scores = self.view.scores(logits, self.live)
        if len(self.live) < len(self.ids):
            # A processor may rule out every token of an ended row, which cannot be drawn from.
            ended = [row for row in range(len(self.ids)) if self.branches[row] is not None]
            scores[ended] = 0.0
        name, generated = self.decoder.strategy_name, len(self.tokens[self.live[0]])
        if not self.decoder.do_sample:
            best = scores.argmax(dim=-1)
            _check_logits(name, scores.gather(1, best[:, None])[:, 0], generated)
            return best
        probabilities = scores.softmax(dim=-1)
        # One NaN or infinite score makes every probability of its row NaN, so one is checked.
        _check_logits(name, probabilities[:, 0], generated)
        return torch.multinomial(probabilities, num_samples=1).squeeze(1)

    def _append(self, tokens: Tensor) -> None:
        column = torch.full_like(tokens, self.decoder.pad_token_id)
        column[self.live] = tokens[self.live]
        self.ids = torch.cat([self.ids, column[:, None]], dim=1)
        self.view.append(column)
        for row, token in zip(self.live, column[self.live].tolist(), strict=True):
            self.tokens[row].append(token)

    def _remove_finished(self) -> None:
        """Turn the rows that end with this token into branches; keep the cache of the others."""
        finished, timed_out = self.view.finished()
        going: list[int] = []
        ended: list[tuple[int, int, bool, int]] = []
        for place, row in enumerate(self.live):
            remaining = self.remaining_tokens[row] - len(self.tokens[row])
            stopped = finished[row] or timed_out or remaining <= 0
            if stopped or (self.boundary is not None and self.boundary(self.tokens[row])):
                ended.append((place, row, stopped, remaining))
            else:
                going.append(place)
        # A branch's cache may be a view of the batch's cache or a copy. A view keeps the whole
        # batch in memory. If few rows end, they are copied, so that the batch can be freed. If most
        # end, views of it take hardly more memory than copies would, and cost no time.
        copy = len(going) > len(ended)
        for place, row, stopped, remaining in ended:
            self.branches[row] = self._branch(place, row, finished[row], stopped, remaining, copy)
        if self.decoder.can_select and going and len(going) < len(self.live):
            self._select(going)
        self.live = [self.live[place] for place in going]
        if self.decoder.can_select:
            self.held = self.live

    def _select(self, places: list[int]) -> None:
        """Let the model read on at these places of its batch only."""
        index, count = torch.tensor(places, device=self.ids.device), len(self.live)
        for name, x in self.model_kwargs.items():
            if isinstance(x, Cache):
                select_cache_rows(x, index)
            else:
                self.model_kwargs[name] = select_rows(name, x, index, count)

    def _branch(
        self, place: int, row: int, finished: bool, stopped: bool, remaining: int, copy: bool
    ) -> Branch:
        tokens = self.ids[row, self.prompt_width :]
        if stopped or not self.branchable:
            return Branch(tokens, finished, stopped, remaining)
        padding, cache, position = 0, None, None
        if self.decoder.can_select:
            padding = self.padding[row]
            (held,) = (x for x in self.model_kwargs.values() if isinstance(x, Cache))
            cache = take_row(held, place, padding, copy=copy)
            positions = self.model_kwargs.get("position_ids")
            position = None if positions is None else positions[..., place, -1]
        return Branch(
            tokens,
            finished,
            stopped,
            remaining,
            row=self.view.continued(row, torch.cat([self.view.rows[row].answer, tokens])),
            ids=self.ids[row, padding:],
            cache=cache,
            position=position,
        )


def _check_logits(strategy_name: str, values: Tensor, generated: int) -> None:
    """Raise if the scores of a row hold NaN or infinity, or rule out every token.

    Args:
        strategy_name: the strategy's class name, for the error message.
        values: (r,), one value of each row that is NaN or infinite exactly if its scores are: a
            probability, or the best score.
        generated: number of tokens that the rows already have.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        raise ValueError(
            f"{strategy_name} got scores for token {generated + 1} that hold NaN or "
            f"infinity, or rule out every token, in row {int(bad[0])}; check the model's weights "
            "and dtype (float16 overflows where bfloat16 does not), a temperature next to 0, and "
            "the logits processors"
        )


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
