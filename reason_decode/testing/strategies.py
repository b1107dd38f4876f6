"""Checks that hold a strategy to the laws that callers of ``generate`` rely on."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from reason_decode.models.inputs import decode, special_ids
from reason_decode.strategies.base import Strategy
from reason_decode.testing.laws import LawBroken

__all__ = ["check_cost", "check_plain_generation", "check_strategy", "check_traces"]

PROMPTS = ("What is 2 + 3 * 4?\n", "What is 7 - 5?\n", "Add 1, 2 and 3, then halve the sum.\n")
_GREEDY: Mapping[str, Any] = {"do_sample": False}
# Sampling at a temperature near 0 draws the likeliest token, so candidates that are sampled can be
# compared with greedy decoding.
_COLD: Mapping[str, Any] = {"do_sample": True, "temperature": 1e-4, "top_k": 0, "top_p": 1.0}
_SAMPLED: Mapping[str, Any] = {"do_sample": True, "temperature": 1.0}

Run = Callable[..., tuple[list[list[int]], Any]]
"""``run(prompts, options, strategy=None, padding=0)``: see ``_generate``."""


def check_strategy(
    make_strategy: Callable[[int], Strategy],
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str] = PROMPTS,
    *,
    n: int = 3,
    max_new_tokens: int = 32,
) -> None:
    r"""Raise unless a strategy keeps the laws of ``Strategy``.

    - One candidate gives the tokens of plain ``generate``, under greedy decoding.
    - So do n candidates that are sampled at a temperature near 0.
    - A batch gives what its prompts give one by one; padding on the left changes nothing.
    - The same seed gives the same tokens: no state is kept between calls.
    - Traces agree with the sequences; scores, totals and votes are finite.
    - The cost counts every prompt and every returned token.

    Args:
        make_strategy: returns the strategy with a given number of candidates.
        model: the generator, a decoder-only model of transformers.
        tokenizer: the generator's tokenizer, with a padding token.
        prompts: at least two, of different lengths in tokens.
        n: number of candidates, at least 2.
        max_new_tokens: tokens to generate for each prompt.

    Raises:
        LawBroken: a law does not hold.
        ValueError: the prompts have equal lengths, or n is less than 2.

    Example:
        >>> from reason_decode import BestOfN, tiny
        >>> from reason_decode.testing import check_strategy
        >>> t = tiny.load()
        >>> check_strategy(
        ...     lambda n: BestOfN(t.prm, tokenizer=t.tokenizer, n=n),
        ...     t.model,
        ...     t.tokenizer,
        ...     ["Make 36 from 4 5 6 10.\n", "(1 + 2) =\n"],
        ...     max_new_tokens=8,
        ... )
    """
    lengths = [len(tokenizer(prompt)["input_ids"]) for prompt in prompts]
    if len(set(lengths)) < 2 or n < 2:
        raise ValueError(
            f"got prompts of {lengths} tokens and n={n}; pass prompts of at least two different "
            "lengths, and n of at least 2"
        )
    run = partial(_generate, model, tokenizer, max_new_tokens=max_new_tokens)
    check_plain_generation(make_strategy(1), run, prompts, _GREEDY)
    check_plain_generation(make_strategy(n), run, prompts, _COLD)
    strategy = make_strategy(n)
    tokens, output = run(prompts, _SAMPLED, strategy)
    if run(prompts, _SAMPLED, strategy)[0] != tokens:
        raise LawBroken("the same seed gives the same tokens: a second call gave others")
    kept = special_ids(tokenizer, strategy.tags)
    check_traces(output, prompts, [decode(tokenizer, torch.tensor(row), kept) for row in tokens])
    check_cost(output, sum(lengths), sum(map(len, tokens)))


def check_plain_generation(
    strategy: Strategy, run: Run, prompts: Sequence[str], options: Mapping[str, Any]
) -> None:
    """Raise unless a strategy gives the tokens of greedy decoding, one by one and in batches.

    Args:
        strategy: a strategy that has no choice: one candidate, or candidates that are all alike.
        run: generates; ``check_strategy`` has it.
        prompts: the prompts.
        options: options of ``generate`` under which the strategy has no choice.

    Raises:
        LawBroken: it gives other tokens.
    """
    plain = [run([prompt], _GREEDY)[0][0] for prompt in prompts]
    for padding in (0, 3):
        batch, _ = run(prompts, options, strategy, padding)
        law = f"a batch with {padding} columns of padding gives the tokens of plain generate"
        for prompt, found, expected in zip(prompts, batch, plain, strict=True):
            _check_equal(law, prompt, found, expected)
    for prompt, expected in zip(prompts, plain, strict=True):
        ((found,), _) = run([prompt], options, strategy)
        _check_equal("one prompt gives the tokens of plain generate", prompt, found, expected)


def check_traces(output: Any, prompts: Sequence[str], texts: Sequence[str]) -> None:
    """Raise unless there is one consistent trace for each prompt.

    Args:
        output: what ``generate`` returned, with ``traces``.
        prompts: the prompts.
        texts: the new text of each returned sequence.

    Raises:
        LawBroken: a trace is missing, chooses no candidate, says another text than the sequence,
            or holds a number that is not finite.
    """
    if len(output.traces) != len(prompts):
        raise LawBroken(f"one trace a prompt: got {len(output.traces)} for {len(prompts)} prompts")
    for prompt, text, trace in zip(prompts, texts, output.traces, strict=True):
        where = f"for the prompt {prompt!r}"
        count = len(trace.candidates)
        if not trace.chosen or not all(0 <= k < count for k in trace.chosen):
            raise LawBroken(f"chosen are indices of candidates: got {trace.chosen} of {count}")
        if trace.best.text != text:
            raise LawBroken(
                f"the sequence is the best candidate: got the sequence {text!r} and the candidate "
                f"{trace.best.text!r} {where}"
            )
        steps = [step for steps in trace.rounds for step in steps]
        numbers = [x for c in trace.candidates for x in (*c.scores, c.total)]
        numbers += [*trace.votes.values(), *(step.total for step in steps)]
        if not all(x is None or math.isfinite(x) for x in numbers):
            raise LawBroken(f"scores, totals and votes are finite: got {numbers} {where}")


def check_cost(output: Any, prompt_tokens: int, new_tokens: int) -> None:
    """Raise unless the cost counts every prompt and every returned token.

    Args:
        output: what ``generate`` returned, with ``cost``.
        prompt_tokens: tokens of all prompts.
        new_tokens: tokens of all returned sequences behind their prompts.

    Raises:
        LawBroken: it counts less.
    """
    cost = output.cost
    if cost.prefill < prompt_tokens or cost.sampled < new_tokens:
        raise LawBroken(
            f"the cost counts what was read and sampled: got {cost} for prompts of {prompt_tokens} "
            f"tokens and {new_tokens} returned tokens"
        )


def _generate(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    options: Mapping[str, Any],
    strategy: Strategy | None = None,
    padding: int = 0,
    *,
    max_new_tokens: int,
) -> tuple[list[list[int]], Any]:
    """New ids of each prompt without padding, and the output of ``generate``; the seed is 0."""
    rows = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    pad, width = tokenizer.pad_token_id, max(map(len, rows)) + padding
    ids = torch.tensor([[pad] * (width - len(row)) + [*row] for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=max_new_tokens,
            pad_token_id=pad,
            return_dict_in_generate=True,
            **options,
            **({} if strategy is None else {"custom_generate": strategy}),
        )
    new = output.sequences[:, width:].tolist()
    # Sequences are padded on the right; an end of sequence that is the padding token goes as well.
    return [row[: row.index(pad)] if pad in row else row for row in new], output


def _check_equal(law: str, prompt: str, found: list[int], expected: list[int]) -> None:
    if found != expected:
        raise LawBroken(f"{law}: got {found} and {expected} for the prompt {prompt!r}")
