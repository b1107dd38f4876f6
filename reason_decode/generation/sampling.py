"""Batches of token sequences that are being decoded, and the loop that samples their next tokens.

The rows of a batch share one rectangular cache, with padding in front of the shorter ones. What a
row needs to go on later, apart from the others, is a ``Branch``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.cache_utils import Cache

from reason_decode.core.splitting import Boundary
from reason_decode.generation.cache import RowCache, select_cache, select_cache_rows, take_row
from reason_decode.generation.row_processors import RowProcessors, RowView
from reason_decode.generation.row_state import Row
from reason_decode.generation.token_stats import TokenStats, token_stats
from reason_decode.models.inputs import pad_rows

__all__ = [
    "Branch",
    "DecodeBatch",
    "Decoder",
    "check_options",
    "continued_inputs",
    "sample_branches",
    "select_rows",
]

# Options that choose another decoding method of transformers, and its name.
_OTHER_METHODS = {
    "penalty_alpha": "contrastive search",
    "dola_layers": "DoLa",
    "constraints": "constrained beams",
    "force_words_ids": "constrained beams",
    "prompt_lookup_num_tokens": "assisted decoding",
    "assistant_early_exit": "assisted decoding",
    "use_mtp": "assisted decoding",
}
_PER_TOKEN_OUTPUTS = ("output_scores", "output_logits", "output_attentions", "output_hidden_states")


@dataclass
class DecodeBatch:
    """A batch of r token sequences and the state that the model decodes it with.

    Attributes:
        rows: each row as plain ``generate`` would hold it.
        ids: (r, t) int64, padded on the left: what the model reads.
        model_kwargs: the other inputs of the model's forward pass: cache, attention mask, ...
        logits: (r, v) float32, the logits after the last id; ``None`` if that id has not been read.
        remaining_tokens: how many more tokens each row may get.
        widths: of a batch that has no cache yet, because its rows are to be read from their
            beginning: number of columns of each row; the others in front of them are filled up.
    """

    rows: list[Row]
    ids: Tensor
    model_kwargs: dict[str, Any]
    logits: Tensor | None
    remaining_tokens: list[int]
    widths: list[int] | None = None

    @property
    def is_read(self) -> bool:
        """True if the model has read the ids but the last of each row, or all of them."""
        return self.widths is None

    def select(self, index: Sequence[int]) -> "DecodeBatch":
        """Copies of some rows, which share no memory with this batch; rows may repeat."""
        places = torch.tensor(index, device=self.ids.device)
        return DecodeBatch(
            [self.rows[k] for k in index],
            self.ids[places],
            {
                name: select_cache(x, places)
                if isinstance(x, Cache)
                else select_rows(name, x, places, len(self.ids))
                for name, x in self.model_kwargs.items()
            },
            None if self.logits is None else self.logits[places],
            [self.remaining_tokens[k] for k in index],
            None if self.widths is None else [self.widths[k] for k in index],
        )


@dataclass(frozen=True)
class Branch:
    """One sampled continuation of a row.

    Args:
        tokens: the sampled token ids, (t,) int64.
        finished: a stopping criterion of the caller (end of sequence, for example) ended it.
        stopped: it cannot be continued: finished, no tokens remaining, or out of time.
        remaining_tokens: how many more tokens it may get.
        row: the row with all of its new tokens; ``None`` if the branch cannot be continued.
        ids: all that the model has read or is to read, (t,) int64, without padding, or with that
            of its prompt if it has no cache; ``None`` if the branch cannot be continued.
        cache: what the model needs of all ids but the last; ``None`` if it has to read them again.
        position: position id of the last id, () or one for each axis; ``None`` for models without.
        stats: statistics of the tokens; ``None`` where nobody reads them.
    """

    tokens: Tensor
    finished: bool
    stopped: bool
    remaining_tokens: int
    row: Row | None = None
    ids: Tensor | None = None
    cache: RowCache | None = None
    position: Tensor | None = None
    stats: TokenStats | None = None


def select_rows(name: str, x: Any, index: Tensor, rows: int) -> Any:
    """The entries of some rows of a model input; what has no entry a row is returned as it is.

    Args:
        name: name of the input. Position ids may have axes in front of the rows (Qwen-VL).
        x: the input.
        index: the rows to select.
        rows: number of rows.
    """
    if not isinstance(x, Tensor) or not x.dim():
        return x
    axis = max(0, x.dim() - 2) if name == "position_ids" else 0
    return x.index_select(axis, index.to(x.device)) if x.shape[axis] == rows else x


def continued_inputs(
    prompt_inputs: dict[str, Any],
    mask: Tensor,
    prompts: Sequence[int],
    prompt_lengths: Sequence[int],
    positions: Tensor | None = None,
) -> dict[str, Any]:
    """The inputs of rows that continue prompts, without ids and cache.

    Args:
        prompt_inputs: the inputs that ``generate`` made for the prompts.
        mask: (r, t) int64, 1 at the ids of each row, which are padded on the left.
        prompts: the prompt of each row.
        prompt_lengths: number of ids of that prompt, without padding.
        positions: position id of each row's last id, (r,) or (axes, r); ``None``: counted from 0.
    """
    inputs = {k: x for k, x in prompt_inputs.items() if not isinstance(x, Tensor | Cache)}
    if "attention_mask" in prompt_inputs:
        inputs["attention_mask"] = None if bool(mask.all()) else mask
    lengths, width = mask.sum(dim=1), mask.shape[1]
    if (own := prompt_inputs.get("position_ids")) is not None:
        last = lengths - 1 if positions is None else positions
        if last.dim() < own.dim() - 1:
            last = last.expand(len(own), -1)
        offsets = torch.arange(1 - width, 1, device=mask.device)
        inputs["position_ids"] = (last[..., None] + offsets).clamp(min=0)
    # As generate() does: new tokens have the type of the last one, and are no image.
    for name, goes_on in (("token_type_ids", 1), ("mm_token_type_ids", 0)):
        if (own := prompt_inputs.get(name)) is not None:
            rows = [
                torch.cat([own[p, -n:], (own[p, -1:] * goes_on).expand(length - n)])
                for p, n, length in zip(prompts, prompt_lengths, lengths.tolist(), strict=True)
            ]
            inputs[name], _ = pad_rows(rows, side="left")
    return inputs


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
        keep_stats: keep statistics of the tokens.
    """

    strategy_name: str
    processors: RowProcessors
    do_sample: bool
    pad_token_id: int
    forward: Callable[[Tensor, dict[str, Any]], tuple[Tensor, dict[str, Any]]]
    can_select: bool
    keep_stats: bool = False


def check_options(strategy_name: str, config: GenerationConfig) -> None:
    """Raise if a call asks for another decoding method, or for outputs that are not kept.

    ``generate(custom_generate=...)`` itself would drop such options without a word.

    Args:
        strategy_name: the strategy's class name, for the error message.
        config: the prepared generation config.

    Raises:
        ValueError: it does.
    """
    if (config.num_beams or 1) > 1:
        raise ValueError(
            f"{strategy_name} does its own search; got num_beams={config.num_beams}, allowed is 1. "
            "Drop num_beams, or pass StepSearch(beam_width=...) for a beam over steps"
        )
    for name, method in _OTHER_METHODS.items():
        if value := getattr(config, name, None):
            raise ValueError(
                f"{strategy_name} samples by itself; got {name}={value!r}, which asks for {method} "
                f"and would be ignored. Drop {name}, or custom_generate"
            )
    copies = config.num_return_sequences
    if copies is not None and copies < 1:
        raise ValueError(f"got num_return_sequences={copies}; need at least 1")
    for name in _PER_TOKEN_OUTPUTS:
        if getattr(config, name, None):
            raise ValueError(
                f"{strategy_name} does not keep per-token {name.removeprefix('output_')}; got "
                f"{name}=True. Drop it: ReasoningOutput.traces has the candidates and their scores"
            )


def sample_branches(
    decoder: Decoder, batch: DecodeBatch, boundary: Boundary | None, branchable: bool
) -> list[Branch]:
    """Continue each row until a stopping criterion, its token budget or a boundary ends it.

    Args:
        decoder: see ``Decoder``.
        batch: the rows, with logits; used up by the call.
        boundary: says where a row pauses; ``None``: nowhere.
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
        self.stats: list[Tensor] = []

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
        if self.decoder.keep_stats:
            self.stats.append(token_stats(self.logits, tokens, self.held))
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
        # A branch's cache may be a copy, or a view, which keeps the whole batch in memory. If most
        # rows end, views take hardly more memory than copies, and no time.
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
        stats = TokenStats.of_row(self.stats, row) if self.stats else None
        if stopped or not self.branchable:
            return Branch(tokens, finished, stopped, remaining, stats=stats)
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
            stats=stats,
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
