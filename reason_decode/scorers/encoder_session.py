"""Scoring by an encoder: each token attends to all others, so each text is read whole."""

import inspect
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoModelForTextEncoding,
)

from reason_decode.core.solutions import to_steps
from reason_decode.models.inputs import (
    CachedTokenizer,
    EncodedSolution,
    input_device,
    max_positions,
    pad_rows,
)
from reason_decode.scorers.causal import CausalScorer
from reason_decode.scorers.causal_reader import Span
from reason_decode.scorers.rescoring import RescoringSession

__all__ = [
    "EncoderSession",
    "PairEncoder",
    "body_auto_class",
    "collate_pairs",
    "is_bidirectional",
    "position_offset",
    "score_pairs",
    "truncate_pair",
]

MIN_WINDOW = 8
# A tokenizer without a limit has a number like 1e30 as its model_max_length.
_NO_LIMIT = 1 << 24


class EncoderSession(RescoringSession):
    """A session of an encoder, which reads whole trajectories in each round; see ``Session``.

    Args:
        scorer: the encoder with its layout.
        prompts: the prompt that each trajectory begins with.
    """

    def __init__(self, scorer: CausalScorer, prompts: Sequence[str]) -> None:
        super().__init__(scorer, prompts)
        self._encoder = scorer

    def _score_whole(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        steps = to_steps(solutions, self._encoder.splitter, self._encoder.per_step)
        scores, tokens = score_pairs(self._encoder, prompts, steps)
        self.tokens_read += tokens
        return scores


@torch.no_grad()
def score_pairs(
    scorer: CausalScorer, prompts: Sequence[str], solutions: Sequence[Sequence[str]]
) -> tuple[list[Tensor], int]:
    """Scores of whole solutions, read in batches of similar length, and the tokens read.

    Args:
        scorer: the encoder with its layout.
        prompts: the prompt of each solution.
        solutions: the steps of each solution.

    Returns:
        For each solution float32 (1,), (0,) for one without steps; and the number of tokens,
        padding excluded.
    """
    encoded = [
        scorer.encode(prompt, steps) for prompt, steps in zip(prompts, solutions, strict=True)
    ]
    scores = [torch.zeros(0) for _ in encoded]
    order = sorted(
        (k for k, steps in enumerate(solutions) if steps), key=lambda k: len(encoded[k].ids)
    )
    tokens = 0
    while order:
        batch = [order.pop()]
        width = len(encoded[batch[0]].ids)
        while order and (len(batch) + 1) * width <= scorer.batch_tokens:
            batch.append(order.pop())
        features = scorer.forward(**collate_pairs([encoded[k] for k in batch], 0, scorer.model))
        spans = [
            Span(features[row, span.start : span.stop], [])
            for row, k in enumerate(batch)
            for span in encoded[k].spans
        ]
        for k, score in zip(batch, scorer.score_spans(spans).float().cpu().split(1), strict=True):
            scores[k] = score
        tokens += sum(len(encoded[k].ids) for k in batch)
    return scores, tokens


def collate_pairs(
    encoded: Sequence[EncodedSolution], pad_token_id: int, model: PreTrainedModel
) -> dict[str, Tensor]:
    """Encoded pairs as a batch, padded on the right, on the model's device.

    Args:
        encoded: the pairs, each with one scored span.
        pad_token_id: the padding.
        model: the encoder.

    Returns:
        ``input_ids`` and ``attention_mask`` (b, t) int64; if the model distinguishes two texts,
        ``token_type_ids``, 1 from the scored span on; if the pairs have positions,
        ``position_ids``.
    """
    ids, mask = pad_rows([x.ids for x in encoded], side="right", value=pad_token_id)
    inputs = {"input_ids": ids, "attention_mask": mask}
    if (getattr(model.config, "type_vocab_size", 0) or 0) > 1:
        starts = [x.spans[0].start for x in encoded]
        types = [
            [int(k >= start) for k in range(len(x.ids))]
            for x, start in zip(encoded, starts, strict=True)
        ]
        inputs["token_type_ids"], _ = pad_rows(types, side="right")
    positions = [x.position_ids for x in encoded if x.position_ids is not None]
    if positions:
        inputs["position_ids"], _ = pad_rows(positions, side="right")
    device = input_device(model)
    return {name: x.to(device) for name, x in inputs.items()}


def truncate_pair(
    prompt: Sequence[int], solution: Sequence[int], max_tokens: int
) -> tuple[list[int], list[int]]:
    """The ends of a prompt and of a solution, together at most ``max_tokens`` tokens.

    A prompt's question is at its end, and so is a solution's answer. If both do not fit, the
    prompt gets a third of the tokens, and more if the solution leaves some over.

    Examples:
        >>> truncate_pair(range(9), range(20), 9)
        ([6, 7, 8], [14, 15, 16, 17, 18, 19])
        >>> truncate_pair(range(9), range(2), 9)
        ([2, 3, 4, 5, 6, 7, 8], [0, 1])
    """
    kept = min(len(solution), max(max_tokens - len(prompt), max_tokens - max_tokens // 3))
    kept_prompt = min(len(prompt), max_tokens - kept)
    return list(prompt[len(prompt) - kept_prompt :]), list(solution[len(solution) - kept :])


@torch.no_grad()
def is_bidirectional(model: PreTrainedModel) -> bool:
    """True if a token's features depend on the tokens after it, as in an encoder.

    This is found by a forward pass over four tokens: no field of a config says so for every model.
    """
    a, b, c = _sample_ids(model)
    first, second = _hidden(model, [[a, b], [a, c]])[:, 0]
    return not torch.allclose(first, second, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def position_offset(model: PreTrainedModel) -> int | None:
    """The position of a text's first token; ``None`` if the model takes no position ids.

    Found by trying: RoBERTa and similar models count from the position after the padding id.
    """
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return None
    ids = [list(_sample_ids(model))]
    plain = _hidden(model, ids)
    for offset in dict.fromkeys([0, (model.config.pad_token_id or 0) + 1]):
        positions = torch.arange(offset, offset + 3, device=input_device(model))[None]
        if torch.allclose(plain, _hidden(model, ids, position_ids=positions), rtol=1e-4, atol=1e-5):
            return offset
    return None


def _hidden(model: PreTrainedModel, ids: list[list[int]], **inputs: Tensor) -> Tensor:
    """The last hidden states in evaluation mode, float32 (b, t, h)."""
    training = model.training
    try:
        input_ids = torch.tensor(ids, device=input_device(model))
        return model.eval()(input_ids=input_ids, **inputs).last_hidden_state.float()
    finally:
        model.train(training)


def _sample_ids(model: PreTrainedModel) -> tuple[int, ...]:
    """Three ids other than the padding id, which some models do not count as positions."""
    return tuple(x for x in range(4) if x != model.config.pad_token_id)[:3]


class PairEncoder:
    """Encodes a prompt and a solution as an encoder's pair of texts, truncated from the left.

    ``[cls] prompt [sep] solution [sep]``, with those of these tokens that the tokenizer has. The
    positions of a truncated solution count what was cut off, as if it were there and masked: a
    solution's length says much about it.

    Args:
        model: the encoder.
        tokenizer: its tokenizer.
        window: largest number of tokens; ``None``: what tokenizer and positions allow.

    Raises:
        ValueError: the window is too small.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: CachedTokenizer, window: int | None
    ) -> None:
        base = tokenizer.tokenizer
        close = base.eos_token_id if base.sep_token_id is None else base.sep_token_id
        self.tokenizer, self.offset = tokenizer, position_offset(model)
        self.first, self.last = (
            [x] if isinstance(x, int) else [] for x in (base.cls_token_id, close)
        )
        self.positions = (max_positions(model) or _NO_LIMIT) - (self.offset or 0)
        self.window = min(window or sys.maxsize, base.model_max_length, self.positions)
        if self.window < MIN_WINDOW:
            raise ValueError(
                f"got a window of {self.window} tokens; a prompt and a solution need at least "
                f"{MIN_WINDOW}"
            )

    def encode(self, prompt: str, solution: str) -> EncodedSolution:
        """The pair, scored over the solution's tokens."""
        # Without transformers' warning that a text is longer than the model allows: it is cut.
        read = self.tokenizer.tokenizer(solution, add_special_tokens=False, verbose=False)
        solution_ids: list[int] = read["input_ids"]
        max_tokens = self.window - len(self.first) - 2 * len(self.last)
        prompt_ids, kept = truncate_pair(
            self.tokenizer.encode_cached(prompt), solution_ids, max_tokens
        )
        before = [*self.first, *prompt_ids, *self.last]
        ids = [*before, *kept, *self.last]
        if not kept:
            return EncodedSolution(ids, [])
        position_ids = None
        if self.offset is not None:
            gap = min(len(solution_ids) - len(kept), self.positions - len(ids))
            places = (*range(len(before)), *range(len(before) + gap, len(ids) + gap))
            position_ids = [self.offset + k for k in places]
        return EncodedSolution(ids, [len(ids) - len(self.last) - 1], [len(before)], position_ids)


def body_auto_class(path_or_id: Any, **kwargs: Any) -> Any:
    """The Auto class that loads a checkpoint's body; for an encoder-decoder, its encoder.

    Args:
        path_or_id: a folder or a Hub id.
        kwargs: passed to ``AutoConfig.from_pretrained``.

    Raises:
        ValueError: transformers cannot load the encoder of this kind of model alone.
    """
    config: Any = AutoConfig.from_pretrained(path_or_id, **kwargs)
    # The config of a saved encoder still says encoder-decoder; only its architecture tells.
    alone = any(name.endswith("EncoderModel") for name in config.architectures or ())
    if not (alone or config.is_encoder_decoder):
        return AutoModel
    if type(config) not in MODEL_FOR_TEXT_ENCODING_MAPPING:
        raise ValueError(
            f"got {path_or_id}, an encoder-decoder of type {config.model_type}; of these only T5 "
            "and models like it have an encoder that is loaded alone: use one, an encoder such as "
            "BERT, or a causal model"
        )
    return AutoModelForTextEncoding
