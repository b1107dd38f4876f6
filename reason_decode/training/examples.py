"""Solutions as token ids with labels, encoded by the object that will score them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reason_decode.core.messages import turns
from reason_decode.models.inputs import CachedTokenizer, EncodedSolution, pad_rows
from reason_decode.training.grading import is_right
from reason_decode.training.labelled import LabelledSolution

__all__ = [
    "IGNORE",
    "Example",
    "SolutionEncoder",
    "collate",
    "encode_prompt",
    "outcome_examples",
    "solution_examples",
    "step_examples",
]

IGNORE = -100
"""Label of a position without one, which losses ignore."""


class SolutionEncoder(Protocol):
    """A scorer, or the format of one, that encodes solutions."""

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The token ids, and the positions at which each step is scored."""
        ...


class Example(NamedTuple):
    """Token ids with labels at some positions.

    Attributes:
        ids: the tokens.
        positions: indices of the tokens that have a label, ascending.
        labels: the label of each position: a class, or for a language model the next token.
        wrong: wrong solutions that share a batch with this one; the loss of the batch reads their
            labels apart.
        soft: probability of the last class at each position; empty for labels that are certain.
    """

    ids: list[int]
    positions: list[int]
    labels: list[int]
    wrong: tuple["Example", ...] = ()
    soft: tuple[float, ...] = ()


def step_examples(
    solutions: Iterable[LabelledSolution],
    encoder: SolutionEncoder,
    classes: Mapping[int, int],
    *,
    soft: bool = False,
) -> Iterator[Example]:
    """Encode each solution with a class at the end of every labelled step.

    Steps after the last labelled one are cut off; solutions without labels are left out.

    Args:
        solutions: solutions whose labels are keys of ``classes`` or ``None``.
        encoder: the format that will score.
        classes: label -> class.
        soft: keep the probabilities of soft labels beside their classes.

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.training import LabelledSolution, step_examples
        >>> solution = LabelledSolution("1 + 2 + 3 =", ("1 + 2 = 3", "3 + 3 = 7"), labels=(1, -1))
        >>> (example,) = step_examples([solution], tiny.load().prm, {-1: 0, 1: 1})
        >>> example.labels
        [1, 0]
    """
    for solution in solutions:
        known = [k for k, label in enumerate(solution.labels) if label is not None]
        if known:
            encoded = encoder.encode(solution.prompt, solution.steps[: known[-1] + 1])
            labels = [solution.labels[k] for k in known]
            probabilities = [solution.soft[k] for k in known] if soft and solution.soft else []
            yield Example(
                encoded.ids,
                [encoded.score_positions[k] for k in known],
                [classes[label] for label in labels if label is not None],
                soft=tuple(p for p in probabilities if p is not None),
            )


def outcome_examples(
    solutions: Iterable[LabelledSolution], encoder: SolutionEncoder
) -> Iterator[Example]:
    """Encode each solution whose answer is known to be right or wrong, with that class at its end.

    Args:
        solutions: any number; those for which ``is_right`` is ``None`` are left out.
        encoder: the outcome reward model that will score.

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.training import LabelledSolution, outcome_examples
        >>> solution = LabelledSolution("1 + 2 =", ("1 + 2 = 4",), (None,), answer="3")
        >>> (example,) = outcome_examples([solution], tiny.load().orm)
        >>> example.labels
        [0]
    """
    for solution in solutions:
        right = is_right(solution)
        if right is not None and solution.steps:
            encoded = encoder.encode(solution.prompt, solution.steps)
            yield Example(encoded.ids, [encoded.score_positions[-1]], [int(right)])


def solution_examples(
    solutions: Iterable[LabelledSolution],
    tokenizer: PreTrainedTokenizerBase,
    model: Any,
    *,
    separator: str = "\n",
    chat: bool = False,
) -> Iterator[Example]:
    r"""Encode each solution for a language model: labels at its own tokens and the end of sequence.

    ``[bos] prompt (step separator)* eos``, as generation continues a prompt; each piece is
    tokenized by itself, so that the tokens of a prompt do not depend on the solution.

    Args:
        solutions: any number.
        tokenizer: the tokenizer of ``model``.
        model: the model that learns, whose vocabulary the tokenizer must fit.
        separator: text that ends a step.
        chat: format the prompt as a user turn of the tokenizer's chat template.

    Raises:
        ValueError: the tokenizer has no end of sequence, or a larger vocabulary than the model.

    Source: unlike Yiwei98/TDG, code/dataset.py, which also learns prompts and padding.

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.training import LabelledSolution
        >>> t = tiny.load()
        >>> sums = [LabelledSolution("1 + 2 =\n", ("1 + 2 = 3",), (None,))]
        >>> (example,) = solution_examples(sums, t.tokenizer, t.model)
        >>> t.tokenizer.decode(example.labels)
        '1 + 2 = 3\n<eos>'
    """
    eos = tokenizer.eos_token_id
    if not isinstance(eos, int):
        raise ValueError("got a tokenizer without an end of sequence; set tokenizer.eos_token")
    cached = CachedTokenizer(tokenizer, model)
    for solution in solutions:
        prompt = encode_prompt(cached, solution.prompt, separator=separator, chat=chat)
        tokens = [
            token
            for step in solution.steps
            for token in (*cached.encode_cached(step), *cached.encode_cached(separator))
        ]
        ids = [*prompt, *tokens]
        # The logits at a position predict the token after it.
        yield Example(ids, list(range(len(prompt) - 1, len(ids))), [*tokens, eos])


def encode_prompt(
    tokenizer: CachedTokenizer, prompt: str, *, separator: str, chat: bool
) -> list[int]:
    """The token ids before a solution, the same in training and in sampling.

    Args:
        tokenizer: the tokenizer.
        prompt: the problem.
        separator: text that ends a step.
        chat: format the prompt as a user turn of the tokenizer's chat template.
    """
    if not chat:
        return tokenizer.encode_plain(prompt, (), separator).ids
    return list(tokenizer.encode(tokenizer.render_chat(turns(prompt), generate=True)))


def collate(examples: Sequence[Example], pad: int) -> dict[str, Tensor]:
    """Examples as a batch padded on the right, each followed by its wrong solutions.

    Args:
        examples: at least one.
        pad: id of the padding token.

    Returns:
        ``input_ids``, ``attention_mask`` and ``labels``, (b, t) int64; labels are ``IGNORE`` at
        positions without one and in the rows of wrong solutions. If there are wrong solutions also
        ``wrong``, (b, t) int64, their labels, ``IGNORE`` in all other rows. If labels are soft also
        ``soft``, (b, t) float32, the probability of the last class, NaN where a label is certain.
    """
    rows = [(row, row is not example) for example in examples for row in (example, *example.wrong)]
    ids, mask = pad_rows([row.ids for row, _ in rows], side="right", value=pad)
    labels = ids.new_full(ids.shape, IGNORE)
    wrong = labels.clone()
    for k, (row, is_wrong) in enumerate(rows):
        (wrong if is_wrong else labels)[k, row.positions] = ids.new_tensor(row.labels)
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    if any(row.soft for row, _ in rows):
        batch["soft"] = torch.full(ids.shape, float("nan"))
        for k, (row, _) in enumerate(rows):
            if row.soft:
                batch["soft"][k, row.positions] = torch.tensor(row.soft)
    return {**batch, "wrong": wrong} if len(rows) > len(examples) else batch
