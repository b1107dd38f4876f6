"""Chains of equations as training batches: a verdict and a value at each equals sign."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from examples.tiny.batch import (
    NO_DIGIT,
    RIGHT,
    VALUE,
    WRONG,
    Batch,
    DigitTarget,
    Row,
    make_batch,
    token_id,
)
from examples.tiny.chains import Chain, Problem
from reason_decode.training.examples import IGNORE

_DIGITS = VALUE - 1


def collate(problems: Sequence[Problem], tokenizer: PreTrainedTokenizerBase) -> Batch:
    """Problems as ids: prompt, plan, and each chain with a newline.

    The verdict at each newline says whether the line is right; within a chain, the verdict at the
    end of each expression says whether the line is right so far. The expression's value is a target
    at the same token.

    Args:
        problems: from ``chains``.
        tokenizer: from ``build_tokenizer``.
    """
    pad, bos, newline = (
        token_id(tokenizer.pad_token_id),
        token_id(tokenizer.bos_token_id),
        token_id(tokenizer.convert_tokens_to_ids("Ċ")),
    )
    ends = (
        token_id(tokenizer.convert_tokens_to_ids("Ġ=")),
        token_id(tokenizer.convert_tokens_to_ids(".")),
    )
    pieces = [text for problem in problems for text in _pieces(problem)]
    encoded = iter(tokenizer(pieces, add_special_tokens=False)["input_ids"])
    rows: list[Row] = []
    values: list[DigitTarget] = []
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
                _expression_ends(line, chain, ends), chain.values, chain.right, strict=True
            ):
                verdicts[start + place] = RIGHT if so_far else WRONG
                values.append((k, start + place, value_digits(value)))
        rows.append((ids, labels, verdicts))
    return make_batch(rows, pad, values=values)


def value_digits(value: int) -> list[int]:
    """A value's sign (1 for minus) and five digits, the last first; no digits if it has more."""
    size = abs(value)
    digits = [size // 10**k % 10 if size < 10**_DIGITS else NO_DIGIT for k in range(_DIGITS)]
    return [int(value < 0), *digits]


def _pieces(problem: Problem) -> list[str]:
    plan = [] if problem.plan is None else [problem.plan]
    return [problem.prompt, *plan, *map(str, problem.chains)]


def _expression_ends(line: Sequence[int], chain: Chain, ends: tuple[int, int]) -> list[int]:
    """Indices of the tokens at which an expression has just ended: the next ``=`` or the period."""
    equals, period = ends
    # The first equals sign comes after the name of what is computed, not after an expression.
    places = [k for k, token in enumerate(line) if token == equals][1:]
    places.append(line.index(period))
    assert len(places) == len(chain.values)
    return places
