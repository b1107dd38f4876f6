"""Worked solutions as training batches: a verdict at the end of each step."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from examples.tiny.batch import (
    DEAD_END,
    DIGITS,
    NO_DIGIT,
    RIGHT,
    VALID,
    WRONG,
    Batch,
    DigitTarget,
    Row,
    make_batch,
    token_id,
)
from examples.tiny.countdown_problems import leaves_held_out_target, pair_results
from examples.tiny.countdown_solutions import WorkedSolution
from reason_decode.tasks import countdown
from reason_decode.training.examples import IGNORE


def collate(solutions: Sequence[WorkedSolution], tokenizer: PreTrainedTokenizerBase) -> Batch:
    """Solutions as ids: prompt, then each step and a newline, then the end of sequence if right.

    Args:
        solutions: of countdown or arithmetic problems.
        tokenizer: from ``build_tokenizer``.
    """
    pad, bos, eos, newline = (
        token_id(tokenizer.pad_token_id),
        token_id(tokenizer.bos_token_id),
        token_id(tokenizer.eos_token_id),
        token_id(tokenizer.convert_tokens_to_ids("Ċ")),
    )
    pieces = [text for solution in solutions for text in (solution.prompt, *solution.steps)]
    encoded = iter(tokenizer(pieces, add_special_tokens=False)["input_ids"])
    rows: list[Row] = []
    results: list[DigitTarget] = []
    for k, solution in enumerate(solutions):
        ids = [bos, *next(encoded)]
        labels, verdicts = [IGNORE] * len(ids), [IGNORE] * len(ids)
        for line, verdict in zip(solution.steps, _verdicts(solution), strict=True):
            step = [*next(encoded), newline]
            ids += step
            labels += step if verdict == RIGHT else [IGNORE] * len(step)
            verdicts += [IGNORE] * (len(step) - 1) + [verdict]
            of_pair = pair_results(line)
            if of_pair is not None:
                results.append((k, len(ids) - 1, [d for x in of_pair for d in _digits(x)]))
        if solution.right[-1]:
            ids.append(eos)
            labels.append(eos)
            verdicts.append(IGNORE)
        rows.append((ids, labels, verdicts))
    return make_batch(rows, pad, results=results)


def _verdicts(solution: WorkedSolution) -> list[int]:
    """The verdict target of each step."""
    problem = countdown.parse_prompt(solution.prompt)
    state = problem[0] if problem else None
    verdicts: list[int] = []
    for line, right in zip(solution.steps, solution.right, strict=True):
        state = countdown.apply_step(state, line)
        if right:
            verdicts.append(RIGHT)
        elif state is None:
            verdicts.append(WRONG)
        else:
            verdicts.append(VALID if leaves_held_out_target(line) else DEAD_END)
    return verdicts


def _digits(x: countdown.Number | None) -> list[int]:
    """The three digits of a result, the last first; ``NO_DIGIT`` if it is none or has more."""
    if x is None or x >= 10**DIGITS:
        return [NO_DIGIT] * DIGITS
    return [int(x) // 10**k % 10 for k in range(DIGITS)]
