"""Labels from rollouts: a step is right if solutions that continue from it reach the answer."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import LongTensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.answers import states_answer
from reason_decode.core.messages import turns
from reason_decode.core.solutions import Cost, Trace
from reason_decode.core.thinking import (
    ThinkingTags,
    answer_of,
    check_thinking_tags,
    close_thought,
    find_thinking_tags,
    opens_thought,
)
from reason_decode.generation.cache import crop_row
from reason_decode.generation.interface import Generation, Generator
from reason_decode.generation.sampling import Branch
from reason_decode.models.chat_template import has_chat_template, render_chat
from reason_decode.models.inputs import CachedTokenizer, EncodedSolution, decode, pad_rows
from reason_decode.strategies.base import Strategy
from reason_decode.training.labelled import AnswerCheck, Label, LabelledSolution

__all__ = ["RolloutLabels", "label_by_rollouts"]


class RolloutLabels(NamedTuple):
    """A labelled solution, and the share of right rollouts of each step."""

    solution: LabelledSolution
    shares: tuple[float, ...]


def label_by_rollouts(
    model: Generator | PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    solutions: Sequence[LabelledSolution],
    *,
    rollouts: int = 8,
    threshold: float = 0.0,
    max_new_tokens: int = 256,
    temperature: float = 1.0,
    separator: str = "\n",
    chat: bool | None = None,
    system: str | None = None,
    chat_template_kwargs: Mapping[str, Any] | None = None,
    thinking_tags: Sequence[str] | None = None,
    is_right: AnswerCheck | None = None,
    batch_rows: int = 256,
    seed: int = 0,
) -> Iterator[RolloutLabels]:
    r"""Label each step by sampled continuations: right if ``share of right ones > threshold``.

    A solution is read once, and the rollouts of its steps share its key-value cache. The last step
    has no rollouts: its label is whether the solution's own answer is right.

    Args:
        model: the model that samples, usually the generator of the solutions; or a
            ``ServedModel``.
        tokenizer: the tokenizer of ``model``.
        solutions: the solutions; without a chat template their prompts end with the text before a
            first step, such as a newline.
        rollouts: continuations per step.
        threshold: share of right rollouts that a right step exceeds, in [0, 1): 0 is
            Math-Shepherd's hard estimation, 0.5 asks for a majority.
        max_new_tokens: maximum length of a rollout.
        temperature: sampling temperature.
        separator: text that ends a step.
        chat: render prompts by the chat template, as a user's turn; ``None``: if there is one.
        system: text of a system turn before conversations that have none.
        chat_template_kwargs: further arguments of the chat template.
        thinking_tags: the texts before and after a thought, which is no answer; ``None``: found in
            the chat template. A thought that the template opens is closed for solutions without
            one.
        is_right: problem and text of a solution -> whether its answer is right; ``None`` compares
            with the solution's ``answer``.
        batch_rows: rollouts per batch, at least those of one solution.
        seed: seed of the sampling; each batch has its own, so that a run that resumes samples the
            same as one that was not stopped.

    Yields:
        The solutions that have steps, in order, with a label for every step.

    Raises:
        ValueError: a number out of range; or, without ``is_right``, a solution without an answer.

    Source: Math-Shepherd, Wang et al. 2023, 2312.08935, equations 3 (hard) and 4 (soft); OmegaPRM
    calls it Monte Carlo estimation.

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.training import LabelledSolution, label_by_rollouts
        >>> t = tiny.load()
        >>> lines = ("3 * 4 = 12 (left: 2 12)", "12 * 2 = 24 (left: 24)")
        >>> solution = LabelledSolution("Make 24 from 2 3 4.\n", lines, (None, None), answer="24")
        >>> (labelled,) = label_by_rollouts(
        ...     t.model, t.tokenizer, [solution], rollouts=2, max_new_tokens=8
        ... )
        >>> len(labelled.shares)
        2
    """
    numbers = (rollouts, max_new_tokens, batch_rows)
    if min(numbers) < 1 or not 0 <= threshold < 1 or temperature <= 0:
        raise ValueError(
            f"got rollouts={rollouts}, max_new_tokens={max_new_tokens}, batch_rows={batch_rows}, "
            f"threshold={threshold}, temperature={temperature}; counts are at least 1, the "
            "threshold is in [0, 1), the temperature positive"
        )
    if is_right is None and (unknown := next((s for s in solutions if s.answer is None), None)):
        raise ValueError(
            f"got {unknown.prompt!r} ({unknown.source}) without an answer, by which rollouts are "
            "right or wrong: leave it out, or pass is_right=..."
        )
    solutions = [solution for solution in solutions if solution.steps]
    layout = _RolloutLayout(
        CachedTokenizer(tokenizer, model if isinstance(model, PreTrainedModel) else None),
        separator,
        has_chat_template(tokenizer) if chat is None else chat,
        system,
        chat_template_kwargs or {},
        check_thinking_tags(thinking_tags) or find_thinking_tags(tokenizer),
    )
    for number, batch in enumerate(_batches(solutions, max(1, batch_rows // rollouts))):
        openings = [layout.opening(x) for x in batch]
        prompts = [layout.encode(text, ()).ids for text in openings]
        encoded = [layout.encode(text, x.steps) for x, text in zip(batch, openings, strict=True)]
        with torch.random.fork_rng():
            torch.manual_seed(seed + number)
            continuations = _sample(
                model, tokenizer, prompts, encoded, rollouts, max_new_tokens, temperature
            )
        for solution, opening, group in zip(batch, openings, continuations, strict=True):
            opened = opens_thought(opening, layout.tags)

            def graded(given: LabelledSolution, text: str, opened: bool = opened) -> bool:
                answer = answer_of(text, layout.tags, opened)
                return (is_right or _states_its_answer)(given, answer)

            known = solution.correct if is_right is None else None
            yield _label(solution, group, separator, threshold, graded, known)


@dataclass(frozen=True)
class _RolloutLayout:
    """Prompts and their steps as ids, as rollouts continue them."""

    tokenizer: CachedTokenizer
    separator: str
    chat: bool
    system: str | None
    chat_template_kwargs: Mapping[str, Any]
    tags: ThinkingTags

    def opening(self, solution: LabelledSolution) -> str:
        """The text before the first step."""
        if not self.chat:
            return solution.prompt
        messages = turns(solution.prompt)
        if self.system is not None and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.system}, *messages]
        kwargs = self.chat_template_kwargs
        text = render_chat(self.tokenizer.tokenizer, messages, generate=True, **kwargs)
        if not opens_thought(text, self.tags):
            return text
        steps = "".join(solution.steps)
        if steps.lstrip().startswith(self.tags.opening):
            return text.rstrip().removesuffix(self.tags.opening)
        return text if self.tags.closing in steps else close_thought(text, self.tags)

    def encode(self, opening: str, steps: Sequence[str]) -> EncodedSolution:
        """``opening (step separator)*``, each encoded alone."""
        if not self.chat:
            return self.tokenizer.encode_plain(opening, steps, self.separator)
        ids = list(self.tokenizer.encode_cached(opening))
        ends: list[int] = []
        for text in (x for step in steps for x in (step, self.separator)):
            ids += self.tokenizer.encode_cached(text)
            ends.append(len(ids) - 1)
        return EncodedSolution(ids, ends[1::2])


def _batches(
    solutions: Sequence[LabelledSolution], prefixes: int
) -> Iterator[list[LabelledSolution]]:
    """Batches of solutions that have at most ``prefixes`` steps in all, or of one solution."""
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


@dataclass(frozen=True, eq=False)
class _Rollouts(Strategy):
    """Samples continuations of every step but the last of a solution of each prompt.

    Args:
        solutions: one for each prompt, which its ids begin with.
        rollouts: continuations a step.
        found: receives the continuations, by solution, step and rollout.
    """

    solutions: Sequence[EncodedSolution] = ()
    rollouts: int = 8
    found: list[Branch] = field(default_factory=list)

    def run(
        self, generation: Generation, prompts: Sequence[str]
    ) -> tuple[LongTensor, list[Trace], Cost]:
        """Read the solutions, and go on from their steps; the solutions themselves are returned."""
        branches = generation.as_branches(generation.prefill(branchable=True, croppable=True))
        steps = [
            torch.tensor(
                solution.ids[len(generation.unpadded_prompt(p)) :],
                device=generation.prompt_ids.device,
            )
            for p, solution in enumerate(self.solutions)
        ]
        whole = [
            replace(branch, row=branch.row and branch.row._replace(answer=ids))
            for branch, ids in zip(generation.append_context(branches, steps), steps, strict=True)
        ]
        prefixes = [
            _truncate(branch, end + 1, generation.max_new_tokens)
            for branch, solution in zip(whole, self.solutions, strict=True)
            for end in solution.score_positions[:-1]
        ]
        if prefixes:
            self.found.extend(generation.sample(generation.resume(prefixes), self.rollouts))
        rows = [(p, branch.tokens) for p, branch in enumerate(branches)]
        return generation.pack(rows), [], generation.cost


def _sample(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    solutions: Sequence[EncodedSolution],
    rollouts: int,
    max_new_tokens: int,
    temperature: float,
) -> list[list[list[str]]]:
    """The continuations of every step but the last, nested by solution, step and rollout."""
    pad: Any = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    ids, mask = pad_rows(prompts, side="left", value=pad)
    strategy = _Rollouts(tokenizer=tokenizer, solutions=solutions, rollouts=rollouts)
    model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        custom_generate=strategy,
        questions=[""] * len(prompts),  # no scorer is asked
        do_sample=True,
        temperature=temperature,
        top_k=0,
        max_new_tokens=max_new_tokens,
        pad_token_id=pad,
    )
    texts = iter(decode(tokenizer, branch.tokens) for branch in strategy.found)
    return [
        [[next(texts) for _ in range(rollouts)] for _ in x.score_positions[:-1]] for x in solutions
    ]


def _truncate(branch: Branch, length: int, max_new_tokens: int) -> Branch:
    """The branch with its first ``length`` ids only, and a new budget of tokens."""
    assert branch.ids is not None and branch.row is not None
    removed = len(branch.ids) - length
    prompt_length = len(branch.ids) - len(branch.row.answer)
    return replace(
        branch,
        ids=branch.ids[:length],
        # Logits processors see the steps as generated, behind the prompt.
        row=branch.row._replace(answer=branch.row.answer[: length - prompt_length]),
        cache=None if branch.cache is None else crop_row(branch.cache, length - 1),
        position=None if branch.position is None else branch.position - removed,
        remaining_tokens=max_new_tokens,
    )


def _label(
    solution: LabelledSolution,
    continuations: Sequence[Sequence[str]],
    separator: str,
    threshold: float,
    is_right: AnswerCheck,
    own: bool | None,
) -> RolloutLabels:
    """Label the steps of a solution by the continuations of all but the last."""
    steps = [step + separator for step in solution.steps]
    shares = [
        sum(is_right(solution, "".join(steps[: k + 1]) + text) for text in group) / len(group)
        for k, group in enumerate(continuations)
    ]
    shares.append(float(is_right(solution, "".join(steps)) if own is None else own))
    labels: list[Label] = [1 if share > threshold else -1 for share in shares]
    return RolloutLabels(replace(solution, labels=tuple(labels), soft=()), tuple(shares))


def _states_its_answer(solution: LabelledSolution, text: str) -> bool:
    return solution.answer is not None and states_answer(text, solution.answer)
