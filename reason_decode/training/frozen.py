"""Training of heads alone: the body reads every example once, and its hidden states are kept."""

import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm
from transformers.modeling_outputs import TokenClassifierOutput

from reason_decode.training.examples import Example, collate

__all__ = ["FrozenBody", "HeadExample", "frozen_classifier", "read_states"]

_log = logging.getLogger(__name__)
_SHARD = 256
_BATCH_TOKENS = 8192

Reader = Callable[[Sequence[Any], int], list[Tensor]]
"""Examples and padding id -> the states of each, (k, h), k for its number of labels."""


class HeadExample(NamedTuple):
    """An example of a training, with the states that its labels are read at.

    Attributes:
        example: such as an ``Example``.
        states: (k, h) float32, one row for each of its labels.
    """

    example: Any
    states: Tensor

    @property
    def ids(self) -> Sequence[int]:
        """The tokens of its longest text."""
        return self.example.ids

    @property
    def positions(self) -> Sequence[int]:
        """One entry per label."""
        return self.example.positions


@dataclass(frozen=True, eq=False)
class FrozenBody:
    """The training of the head of a model whose body stays as it is.

    Args:
        head: hidden states (m, h) -> outputs, the part of the model that is trained.
        read: the states of examples; see ``Reader``.
        collate: examples and padding id -> batch with ``states`` and ``labels``.
        measure: held-out examples and the outputs of the head for each -> metrics by name.
    """

    head: nn.Module
    read: Reader
    collate: Callable[..., dict[str, Tensor]]
    measure: Callable[[Sequence[Any], Sequence[Tensor]], dict[str, float]]

    def learner(self) -> nn.Module:
        """A module that has the head's weights alone, and takes states in place of tokens."""
        return _Learner(self.head.float().train())

    def metrics(self, held_out: Sequence[HeadExample]) -> dict[str, float]:
        """Metrics of the head as it is."""
        if not held_out:
            return {}
        device = next(self.head.parameters()).device
        with torch.no_grad():
            outputs = self.head(torch.cat([x.states for x in held_out]).to(device)).float().cpu()
        sizes = [len(x.states) for x in held_out]
        return self.measure([x.example for x in held_out], outputs.split(sizes))


class _Learner(nn.Module):
    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, states: Tensor) -> TokenClassifierOutput:
        """The outputs of the head, as ``logits``."""
        return TokenClassifierOutput(logits=self.head(states))


def frozen_classifier(
    model: Any, measure: Callable[[Sequence[Any], Sequence[Tensor]], dict[str, float]]
) -> FrozenBody:
    """The training of the head ``score`` alone, of a model for token or sequence classification.

    Args:
        model: the model.
        measure: see ``FrozenBody``.
    """
    read = partial(_labelled_states, model.base_model)
    return FrozenBody(model.score, read, _collate_states, measure)


def read_states(
    examples: Sequence[Any], read: Reader, pad: int, folder: Path, *, about: str
) -> list[HeadExample]:
    """The examples with their hidden states; those that an earlier run kept are not read again.

    Args:
        examples: any number; ``ids`` and ``positions`` of each are looked at.
        read: the states of some examples of about the same length.
        pad: id of the padding token.
        folder: where the states are kept, 256 examples a file; it belongs to these examples and
            this body.
        about: what is read, for the progress bar.
    """
    # Of several processes of one run the first one writes.
    writes = os.environ.get("RANK", "0") == "0"
    order = sorted(range(len(examples)), key=lambda k: len(examples[k].ids))
    states = [torch.empty(0)] * len(examples)
    folder.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(examples), desc=about, unit="example", disable=None) as bar:
        for start in range(0, len(order), _SHARD):
            rows = order[start : start + _SHARD]
            path = folder / f"{start // _SHARD:05d}.safetensors"
            found = _kept(path, [len(examples[k].positions) for k in rows])
            if found is None:
                found = _read_rows([examples[k] for k in rows], read, pad, bar)
                if writes:
                    unfinished = path.with_suffix(".tmp")
                    save_file({str(k): x for k, x in enumerate(found)}, unfinished)
                    unfinished.replace(path)
            else:
                bar.update(len(rows))
            for k, x in zip(rows, found, strict=True):
                states[k] = x
    return [HeadExample(x, s) for x, s in zip(examples, states, strict=True)]


def _kept(path: Path, sizes: Sequence[int]) -> list[Tensor] | None:
    """The states in a file; ``None`` if there is none, or it is damaged."""
    if not path.is_file():
        return None
    try:
        held = load_file(path)
        found = [held[str(k)] for k in range(len(sizes))]
    except (SafetensorError, KeyError, OSError):
        _log.warning("%s is damaged: its examples are read again", path)
        return None
    return found if [len(x) for x in found] == list(sizes) else None


def _read_rows(examples: Sequence[Any], read: Reader, pad: int, bar: Any) -> list[Tensor]:
    """The states of examples that are sorted by length, in batches of so many tokens."""
    found: list[Tensor] = []
    while len(found) < len(examples):
        start, count = len(found), 1
        # The next one is the longest, to whose length the others are padded.
        for k in range(start + 1, len(examples)):
            if (k - start + 1) * len(examples[k].ids) > _BATCH_TOKENS:
                break
            count = k - start + 1
        with torch.no_grad():
            found += read(examples[start : start + count], pad)
        bar.update(count)
    # A row of a larger tensor would be saved, and held, with all of it.
    return [x.float().cpu().clone() for x in found]


def _labelled_states(body: Any, examples: Sequence[Example], pad: int) -> list[Tensor]:
    """The hidden states of a body at the labels of each example, (k, h)."""
    inputs = collate([x._replace(soft=(), wrong=()) for x in examples], pad)
    inputs = {name: x.to(body.device) for name, x in inputs.items() if name != "labels"}
    hidden = body(**inputs, use_cache=False).last_hidden_state
    return [hidden[row, x.positions] for row, x in enumerate(examples)]


def _collate_states(examples: Sequence[HeadExample], pad: int) -> dict[str, Tensor]:
    """``states`` (m, h), ``labels`` (m,), and ``soft`` (m,), NaN where a label is certain."""
    batch = {
        "states": torch.cat([x.states for x in examples]),
        "labels": torch.tensor([label for x in examples for label in x.example.labels]),
    }
    if any(x.example.soft for x in examples):
        nan = float("nan")
        soft = [x.example.soft or [nan] * len(x.positions) for x in examples]
        batch["soft"] = torch.tensor([p for row in soft for p in row])
    return batch
