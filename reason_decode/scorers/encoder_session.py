"""Reading trajectories with an encoder: each token sees all others, so each text is read whole."""

import inspect
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoModelForTextEncoding,
)

from reason_decode.models.devices import input_device
from reason_decode.models.tokenization import CachedTokenizer
from reason_decode.scorers.base import Session
from reason_decode.scorers.cached_session import EncodedSolution, Judge, Span
from reason_decode.scorers.checks import check_finite, to_steps

__all__ = [
    "EncodingSession",
    "PairEncoder",
    "auto_class",
    "encoded",
    "is_bidirectional",
    "truncate_pair",
]

LEAST = 8
# A tokenizer that knows no limit says so with a number like 1e30.
_NO_LIMIT = 1 << 24


class _Task(NamedTuple):
    place: tuple[int, int]
    steps: tuple[str, ...]
    layout: EncodedSolution


class EncodingSession(Session):
    """The steps of each trajectory; what is scored is read from its beginning. See ``Session``.

    Args:
        judge: the encoder with its layout.
        prompts: where each trajectory begins.
    """

    def __init__(self, judge: Judge, prompts: Sequence[str]) -> None:
        super().__init__(prompts)
        self.judge = judge
        self.trajectories: list[tuple[str, ...]] = [()] * len(self.prompts)
        self._candidates: list[list[tuple[str, ...]]] = []

    def score(
        self, candidates: Sequence[Sequence[Sequence[str]]], keep_cache: bool = True
    ) -> list[list[Tensor]]:
        """Each trajectory as its candidates continue it, judged whole; see ``Session.score``.

        Raises:
            ValueError: a blank step, or a score that is not finite.
        """
        groups = [to_steps(group, self.judge.splitter) for group in candidates]
        self._candidates = [
            [(*self.trajectories[i], *new) for new in group] for i, group in enumerate(groups)
        ]
        scores = [[torch.zeros(0) for _ in group] for group in groups]
        tasks = [
            _Task((i, j), steps, self.judge.encode(self.prompts[i], steps))
            for i, group in enumerate(self._candidates)
            for j, steps in enumerate(group)
            if steps
        ]
        tasks.sort(key=lambda task: len(task.layout.ids))
        while tasks:
            batch = [tasks.pop()]
            width = len(batch[0].layout.ids)
            while tasks and (len(batch) + 1) * width <= self.judge.batch_tokens:
                batch.append(tasks.pop())
            for task, score in zip(batch, self._forward(batch), strict=True):
                scores[task.place[0]][task.place[1]] = score
        if not keep_cache:
            self._candidates = []
        for i, group in enumerate(scores):
            check_finite(group, [f"candidate {j} of trajectory {i}" for j in range(len(group))])
        return scores

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Continue with the chosen ``(trajectory, candidate)`` pairs of the last ``score``."""
        self.trajectories = [self._candidates[i][j] for i, j in choice]
        self.prompts = [self.prompts[i] for i, _ in choice]
        self._candidates = []

    @torch.no_grad()
    def _forward(self, tasks: Sequence[_Task]) -> list[Tensor]:
        """One score (1,) a task."""
        layouts = [task.layout for task in tasks]
        inputs = encoded(layouts, 0, self.judge.model)
        features = self.judge.read(**inputs)
        spans = [
            Span(features[k, span.start : span.stop], [])
            for k, layout in enumerate(layouts)
            for span in layout.spans
        ]
        self.tokens_read += sum(len(layout.ids) for layout in layouts)
        return list(self.judge.judge(spans).float().cpu().split(1))


def encoded(layouts: Sequence[EncodedSolution], pad: int, model: Any) -> dict[str, Tensor]:
    """Layouts as a batch padded on the right, on the model's device.

    Returns:
        ``input_ids`` and ``attention_mask`` (b, t) int64; where the model tells two texts apart,
        ``token_type_ids`` too, 1 from where a layout is judged; where layouts say them,
        ``position_ids``.
    """
    shape = (len(layouts), max(len(layout.ids) for layout in layouts))
    ids, mask = torch.full(shape, pad), torch.zeros(shape, dtype=torch.long)
    kinds = torch.zeros(shape, dtype=torch.long)
    for row, layout in enumerate(layouts):
        ids[row, : len(layout.ids)] = torch.tensor(layout.ids)
        mask[row, : len(layout.ids)] = 1
        kinds[row, layout.spans[0].start : len(layout.ids)] = 1
    inputs = {"input_ids": ids, "attention_mask": mask}
    if (getattr(model.config, "type_vocab_size", 0) or 0) > 1:
        inputs["token_type_ids"] = kinds
    if layouts[0].positions is not None:
        positions = torch.zeros_like(ids)
        for row, layout in enumerate(layouts):
            positions[row, : len(layout.ids)] = torch.tensor(layout.positions)
        inputs["position_ids"] = positions
    device = input_device(model)
    return {name: x.to(device) for name, x in inputs.items()}


def truncate_pair(
    prompt: Sequence[int], solution: Sequence[int], room: int
) -> tuple[list[int], ...]:
    """The ends of a prompt and of a solution, together at most ``room`` tokens.

    What asks stands at a prompt's end, and the answer at a solution's. Where both do not fit, the
    prompt has a third of the room, and more where the solution leaves it.

    Example:
        >>> truncate_pair(range(9), range(20), 9)
        ([6, 7, 8], [14, 15, 16, 17, 18, 19])
        >>> truncate_pair(range(9), range(2), 9)
        ([2, 3, 4, 5, 6, 7, 8], [0, 1])
    """
    said = min(len(solution), max(room - len(prompt), room - room // 3))
    asked = min(len(prompt), room - said)
    return list(prompt[len(prompt) - asked :]), list(solution[len(solution) - said :])


@torch.no_grad()
def is_bidirectional(model: PreTrainedModel) -> bool:
    """Whether what a model says of a token depends on those behind it: an encoder, no causal model.

    It is asked, in one pass over four tokens: no field of a config says so of every model.
    """
    a, b, c = _tokens(model)
    first, second = _asked(model, [[a, b], [a, c]])[:, 0]
    return not torch.allclose(first, second, rtol=1e-4, atol=1e-6)


def position_offset(model: PreTrainedModel) -> int | None:
    """The position of a text's first token where positions may be given, else ``None``.

    Found by trying: RoBERTa and its kin count from behind the id of padding.
    """
    if "position_ids" not in inspect.signature(model.forward).parameters:
        return None
    ids = [list(_tokens(model))]
    plain = _asked(model, ids)
    for origin in dict.fromkeys([0, (model.config.pad_token_id or 0) + 1]):
        positions = torch.arange(origin, origin + 3, device=input_device(model))[None]
        if torch.allclose(plain, _asked(model, ids, position_ids=positions), rtol=1e-4, atol=1e-5):
            return origin
    return None


@torch.no_grad()
def _asked(model: PreTrainedModel, ids: list[list[int]], **inputs: Tensor) -> Tensor:
    training = model.training
    try:
        given = torch.tensor(ids, device=input_device(model))
        return model.eval()(input_ids=given, **inputs).last_hidden_state.float()
    finally:
        model.train(training)


def _tokens(model: PreTrainedModel) -> tuple[int, ...]:
    """Three ids that are not padding, which some models do not count."""
    return tuple(x for x in range(4) if x != model.config.pad_token_id)[:3]


class PairEncoder:
    """Lays a prompt and a solution out as an encoder's pair of texts, the ends of both if need be.

    ``[cls] prompt [sep] solution [sep]``, with whichever of these marks the tokenizer has. What is
    left out of a solution leaves a gap in the positions, as if it were there and not looked at: how
    long a solution is tells much of it.

    Args:
        model: the encoder.
        words: its tokenizer.
        window: at most so many tokens; ``None``: what tokenizer and positions allow.

    Raises:
        ValueError: a window without room.
    """

    def __init__(self, model: PreTrainedModel, words: CachedTokenizer, window: int | None) -> None:
        tokenizer = words.tokenizer
        close = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
        self.words, self.origin = words, position_offset(model)
        self.first, self.last = (
            [x] if isinstance(x, int) else [] for x in (tokenizer.cls_token_id, close)
        )
        positions = getattr(model.config, "max_position_embeddings", None) or _NO_LIMIT
        self.positions = positions - (self.origin or 0)
        limits = (window or sys.maxsize, tokenizer.model_max_length, self.positions)
        self.window = min(limits)
        if self.window < LEAST:
            raise ValueError(
                f"got a window of {self.window} tokens; a prompt and a solution need at least "
                f"{LEAST}"
            )

    def encode(self, prompt: str, solution: str) -> EncodedSolution:
        """The pair, judged over the solution without the mark behind it."""
        # Quietly: that a text is longer than the window is no news.
        read = self.words.tokenizer(solution, add_special_tokens=False, verbose=False)
        said: list[int] = read["input_ids"]
        room = self.window - len(self.first) - 2 * len(self.last)
        asked, kept = truncate_pair(self.words.ids(prompt), said, room)
        before = [*self.first, *asked, *self.last]
        ids = [*before, *kept, *self.last]
        if not kept:
            return EncodedSolution(ids, [])
        positions = None
        if self.origin is not None:
            gap = min(len(said) - len(kept), self.positions - len(ids))
            places = (*range(len(before)), *range(len(before) + gap, len(ids) + gap))
            positions = [self.origin + k for k in places]
        return EncodedSolution(ids, [len(ids) - len(self.last) - 1], [len(before)], positions)


def auto_class(path_or_id: Any, **kwargs: Any) -> Any:
    """The Auto class that loads the body of a checkpoint: of an encoder-decoder its encoder.

    Args:
        path_or_id: a folder or a Hub id.
        kwargs: passed to ``AutoConfig.from_pretrained``.

    Raises:
        ValueError: transformers has no encoder without its decoder for this kind of model.
    """
    config: Any = AutoConfig.from_pretrained(path_or_id, **kwargs)
    # A saved encoder says that it is one by its architecture only.
    alone = any(name.endswith("EncoderModel") for name in config.architectures or ())
    if not (alone or config.is_encoder_decoder):
        return AutoModel
    if type(config) not in MODEL_FOR_TEXT_ENCODING_MAPPING:
        raise ValueError(
            f"got {path_or_id}, an encoder-decoder of type {config.model_type}; of these only T5 "
            "and its kin have an encoder that is loaded alone: use one, an encoder such as BERT, "
            "or a causal model"
        )
    return AutoModelForTextEncoding
