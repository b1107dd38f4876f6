"""Labels from rollouts: a step is right if solutions that go on from it still come out right."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import LongTensor, Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.generation.batch import Branch
from reason_decode.generation.cache import crop_row
from reason_decode.generation.engine import Generation
from reason_decode.models.tokenization import CachedTokenizer, EncodedSolution, decode
from reason_decode.training.examples import says
from reason_decode.training.labelled import Label, LabelledSolution

__all__ = ["Rolled", "label_by_rollouts"]

Right = Callable[[LabelledSolution, str], bool]
"""Of a problem and the text of a whole solution, whether its answer is right."""


class Rolled(NamedTuple):
    """A labelled solution, and of each step the share of its rollouts that came out right."""

    solution: LabelledSolution
    shares: tuple[float, ...]


def label_by_rollouts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    solutions: Sequence[LabelledSolution],
    *,
    k: int = 8,
    threshold: float = 0.0,
    max_new_tokens: int = 256,
    temperature: float = 1.0,
    separator: str = "\n",
    right: Right | None = None,
    rows: int = 256,
    seed: int = 0,
) -> Iterator[Rolled]:
    r"""Go on from every step k times; a step is right if ``share of right answers > threshold``.

    A solution is read once, and its steps' rollouts share what was read of it. Nothing is rolled
    out behind the last step: there the solution's own answer decides.

    Args:
        model: goes on; the generator, as a rule.
        tokenizer: its own.
        solutions: prompts end with what stands before a first step, a newline say.
        k: rollouts a step.
        threshold: a share; 0 is Math-Shepherd's hard estimation, 0.5 asks for a majority.
        max_new_tokens: of a rollout, tokens.
        temperature: of sampling.
        separator: what ends a step.
        right: judges a rollout; ``None``: by the solution's ``answer``.
        rows: at most so many rollouts are sampled at a time, where one solution has no more.
        seed: of the sampling; each batch of solutions has its own, so that a run cut off goes on
            with what it would have drawn.

    Returns:
        The solutions in their order, every step labelled.

    Raises:
        ValueError: a number out of range; without ``right``, a solution without an answer.

    Source: Math-Shepherd, Wang et al. 2023, 2312.08935, equations 3 (hard) and 4 (soft); OmegaPRM
    calls it Monte-Carlo estimation.

    Example:
        >>> from reason_decode import tiny
        >>> from reason_decode.training import LabelledSolution, label_by_rollouts
        >>> t = tiny.load()
        >>> lines = ("3 * 4 = 12 (left: 2 12)", "12 * 2 = 24 (left: 24)")
        >>> solution = LabelledSolution("Make 24 from 2 3 4.\n", lines, (None, None), answer="24")
        >>> (rolled,) = label_by_rollouts(t.model, t.tokenizer, [solution], k=2, max_new_tokens=8)
        >>> len(rolled.shares)
        2
    """
    if k < 1 or max_new_tokens < 1 or rows < 1 or not 0 <= threshold < 1 or temperature <= 0:
        raise ValueError(
            f"got k={k}, max_new_tokens={max_new_tokens}, rows={rows}, threshold={threshold}, "
            f"temperature={temperature}; counts are at least 1, the threshold is in [0, 1), the "
            "temperature positive"
        )
    if right is None and (lost := next((s for s in solutions if s.answer is None), None)):
        raise ValueError(
            f"got {lost.prompt!r} ({lost.source}) without an answer; rollouts are right or wrong "
            "by it: leave it out, or pass right=..."
        )
    solutions = [solution for solution in solutions if solution.steps]
    words = CachedTokenizer(tokenizer, model)
    for number, batch in enumerate(_batches(solutions, max(1, rows // k))):
        begun = [words.encode_plain(x.prompt, (), separator).ids for x in batch]
        layouts = [words.encode_plain(x.prompt, x.steps, separator) for x in batch]
        with torch.random.fork_rng():
            torch.manual_seed(seed + number)
            sampled = _sampled(model, tokenizer, begun, layouts, k, max_new_tokens, temperature)
        for solution, group in zip(batch, sampled, strict=True):
            yield _labelled(solution, group, separator, threshold, right or _by_answer)


def _batches(
    solutions: Sequence[LabelledSolution], prefixes: int
) -> Iterator[list[LabelledSolution]]:
    """Solutions whose steps are together no more than ``prefixes``, or one alone."""
    batch: list[LabelledSolution] = []
    count = 0
    for solution in solutions:
        if batch and count + len(solution.steps) > prefixes:
            yield batch
            batch, count = [], 0
        batch.append(solution)
        count += len(solution.steps)
    if batch:
        yield batch


def _sampled(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    layouts: Sequence[EncodedSolution],
    k: int,
    max_new_tokens: int,
    temperature: float,
) -> list[list[list[str]]]:
    """The k continuations of every step but the last, of every solution."""
    width = max(map(len, prompts))
    pad: Any = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in prompts])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
    found: list[Branch] = []
    generator: Any = model  # typed without the generation methods that it has
    generator.generate(
        ids.to(model.device),
        attention_mask=mask.to(model.device),
        custom_generate=partial(_roll_out, layouts, k, max_new_tokens, found),
        do_sample=True,
        temperature=temperature,
        top_k=0,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
    )
    texts = iter(decode(tokenizer, branch.tokens) for branch in found)
    return [
        [[next(texts) for _ in range(k)] for _ in layout.score_positions[:-1]] for layout in layouts
    ]


def _roll_out(
    layouts: Sequence[EncodedSolution],
    k: int,
    room: int,
    found: list[Branch],
    model: PreTrainedModel,
    input_ids: Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    **kwargs: Any,
) -> LongTensor:
    """What ``generate`` calls; the continuations go to ``found``."""
    generation = Generation(
        "label_by_rollouts",
        model,
        input_ids,
        logits_processor,
        stopping_criteria,
        generation_config,
        kwargs,
    )
    with torch.no_grad():
        begun = generation.as_branches(generation.prefill(branchable=True))
        steps = [
            torch.tensor(layout.ids[len(generation.unpadded_prompt(p)) :], device=input_ids.device)
            for p, layout in enumerate(layouts)
        ]
        whole = generation.append_context(begun, steps)
        places = [
            _cut(branch, end + 1, room)
            for branch, layout in zip(whole, layouts, strict=True)
            for end in layout.score_positions[:-1]
        ]
        if places:
            found += generation.sample(generation.resume(places), k)
    return generation.pack([(p, branch.tokens) for p, branch in enumerate(begun)])


def _cut(branch: Branch, length: int, room: int) -> Branch:
    """The branch as it was when it had so many ids."""
    assert branch.ids is not None and branch.cache is not None
    back = len(branch.ids) - length
    return replace(
        branch,
        ids=branch.ids[:length],
        cache=crop_row(branch.cache, length - 1),
        position=branch.position - back,
        remaining_tokens=room,
    )


def _labelled(
    solution: LabelledSolution,
    continuations: Sequence[Sequence[str]],
    separator: str,
    threshold: float,
    right: Right,
) -> Rolled:
    text = [step + separator for step in solution.steps]
    shares = [
        sum(right(solution, "".join(text[: n + 1]) + said) for said in group) / len(group)
        for n, group in enumerate(continuations)
    ]
    own = solution.correct if right is _by_answer else None
    shares.append(float(right(solution, "".join(text)) if own is None else own))
    labels: list[Label] = [1 if share > threshold else -1 for share in shares]
    return Rolled(replace(solution, labels=tuple(labels)), tuple(shares))


def _by_answer(solution: LabelledSolution, text: str) -> bool:
    return solution.answer is not None and says(text, solution.answer)
