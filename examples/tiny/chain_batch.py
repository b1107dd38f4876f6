"""Chains of equations as training batches: a verdict and a value at every sign of equality."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from examples.tiny.batch import (
    IGNORE,
    NO_DIGIT,
    RIGHT,
    VALUE,
    WRONG,
    Batch,
    Placed,
    Row,
    as_id,
    padded,
)
from examples.tiny.chains import Chain, Problem

_DIGITS = VALUE - 1


def collate(problems: Sequence[Problem], tokenizer: PreTrainedTokenizerBase) -> Batch:
    """Problems as ids: prompt, plan, and each chain with a newline.

    A verdict says at each newline whether the line is right, and within a chain, where each of its
    expressions has ended, whether it is right so far; there, too, stands the expression's value.
    """
    pad, bos, newline = (
        as_id(tokenizer.pad_token_id),
        as_id(tokenizer.bos_token_id),
        as_id(tokenizer.convert_tokens_to_ids("Ċ")),
    )
    pieces = [text for problem in problems for text in _pieces(problem)]
    encoded = iter(tokenizer(pieces, add_special_tokens=False)["input_ids"])
    marks = (
        as_id(tokenizer.convert_tokens_to_ids("Ġ=")),
        as_id(tokenizer.convert_tokens_to_ids(".")),
    )
    rows: list[Row] = []
    values: list[Placed] = []
    for k, problem in enumerate(problems):
        ids = [bos, *next(encoded)]
        labels, verdicts = [IGNORE] * len(ids), [IGNORE] * len(ids)
        if problem.plan is not None:
            ids += [*next(encoded), newline]
            labels += [IGNORE] * (len(ids) - len(labels))
            verdicts += [IGNORE] * (len(ids) - len(verdicts) - 1) + [RIGHT]
        for chain in problem.chains:
            line = [*next(encoded), newline]
            start, right = len(ids), all(chain.right)
            ids += line
            labels += line if right else [IGNORE] * len(line)
            verdicts += [IGNORE] * (len(line) - 1) + [RIGHT if right else WRONG]
            for place, value, so_far in zip(
                _ends(line, chain, marks), chain.values, chain.right, strict=True
            ):
                verdicts[start + place] = RIGHT if so_far else WRONG
                values.append((k, start + place, written(value)))
        rows.append((ids, labels, verdicts))
    return padded(rows, pad, values=values)


def written(value: int) -> list[int]:
    """A value as its sign (1 for minus) and five digits, the last first; all 10 if it has more."""
    size = abs(value)
    digits = [size // 10**k % 10 if size < 10**_DIGITS else NO_DIGIT for k in range(_DIGITS)]
    return [int(value < 0), *digits]


def _pieces(problem: Problem) -> list[str]:
    plan = [] if problem.plan is None else [problem.plan]
    return [problem.prompt, *plan, *map(str, problem.chains)]


def _ends(line: Sequence[int], chain: Chain, marks: tuple[int, int]) -> list[int]:
    """Where each expression of a chain has just ended: at the next ``=``, or the full stop."""
    equal, stop = marks
    # The first sign stands behind the name of what is computed.
    signs = [k for k, token in enumerate(line) if token == equal][1:]
    ends = [*signs, line.index(stop)]
    assert len(ends) == len(chain.values)
    return ends
