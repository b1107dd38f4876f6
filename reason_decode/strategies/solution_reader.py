"""Texts of the candidates of one call: their thoughts, answers, and the part that is scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from reason_decode.core.solutions import Candidate
from reason_decode.core.splitting import StepBoundary, StepSplitter
from reason_decode.core.thinking import (
    PROMPT_END,
    ScorePart,
    ThinkingTags,
    answer_of,
    growing_part,
    opens_thought,
)
from reason_decode.generation.engine import Generation
from reason_decode.generation.sampling import Boundary, Branch
from reason_decode.models.inputs import decode

__all__ = ["PartBoundary", "SolutionReader", "read_prompts"]


@dataclass(frozen=True)
class SolutionReader:
    """Reads the texts of the candidates of one call of ``generate``.

    Args:
        tokenizer: the generator's tokenizer.
        tags: the texts before and after a thought.
        part: the part of a text that is scored.
        in_thought: for each prompt, whether it opened a thought.
        kept: ids of special tokens of the tags, which stay in texts.
    """

    tokenizer: PreTrainedTokenizerBase
    tags: ThinkingTags
    part: ScorePart
    in_thought: tuple[bool, ...]
    kept: frozenset[int] = frozenset()

    def decode(self, ids: Tensor) -> str:
        """Token ids as text, without special tokens but those of the tags."""
        return decode(self.tokenizer, ids, self.kept)

    def candidates(
        self, branches: Sequence[Sequence[Branch]], make_candidate: Callable[..., Candidate]
    ) -> tuple[list[list[Tensor]], list[list[Candidate]]]:
        """The new token ids, (t,) int64, of whole continuations, and the candidates that they are.

        Args:
            branches: the continuations of each prompt.
            make_candidate: called with a text, ``finished=``, ``tokens=`` and ``in_thought=``; see
                ``Selector.candidate``.
        """
        tokens = [[branch.tokens for branch in group] for group in branches]
        candidates = [
            [
                make_candidate(
                    self.decode(x.tokens),
                    finished=x.finished,
                    tokens=len(x.tokens),
                    in_thought=in_thought,
                )
                for x in group
            ]
            for group, in_thought in zip(branches, self.in_thought, strict=True)
        ]
        return tokens, candidates

    def answer(self, text: str, prompt: int) -> str:
        """The text behind its thought; empty where that never closed."""
        return answer_of(text, self.tags, self.in_thought[prompt])

    def scored(self, text: str, prompt: int) -> str:
        """The part of a growing text that is scored."""
        return growing_part(text, self.part, self.tags, self.in_thought[prompt])

    def steps(
        self, splitter: StepSplitter, prompt: int, parent: Any, text: str, ended: bool
    ) -> tuple[str, ...]:
        """The steps of the scored part of a text that has grown; see ``StepSplitter.extend``.

        Args:
            splitter: splits that part.
            prompt: index of the prompt.
            parent: the trajectory that the text continues, with its ``steps`` and ``text``.
            text: the text.
            ended: whether nothing can follow.
        """
        before, part = self.scored(parent.text, prompt), self.scored(text, prompt)
        return splitter.extend(parent.steps, before, part, ended)

    def continued(self, text: str) -> str:
        """The part that is scored of a text that continues a scored part."""
        return growing_part(text, self.part, self.tags, self.part == "thought")

    def boundary(self, splitter: StepSplitter, count: int = 1, *, first: bool = False) -> Boundary:
        """The predicate that pauses after ``count`` steps of the part that is scored.

        Args:
            splitter: splits that part into steps.
            count: number of steps.
            first: whether sampling begins at the prompts; if not, within the part that is scored.
        """
        boundary = StepBoundary(self.tokenizer, splitter, count)
        if self.part == "both":
            return boundary
        opened = any(self.in_thought) if first else self.part == "thought"
        return PartBoundary(boundary, self.tags, self.part, opened)


@dataclass(frozen=True)
class PartBoundary:
    """A predicate on new tokens: true once the scored part of their text holds a whole step.

    Steps of the other part end nothing: with ``"answer"`` a thought is sampled in one go with the
    first step behind it, with ``"thought"`` all that follows it. All new tokens are decoded only
    where one may end a step.

    Args:
        boundary: ends steps of the whole text.
        tags: the texts before and after a thought.
        part: the part that is scored.
        opened: whether the new tokens begin inside a thought.
    """

    boundary: StepBoundary
    tags: ThinkingTags
    part: ScorePart
    opened: bool

    def __call__(self, tokens: Sequence[int]) -> bool:
        """True if the scored part of ``tokens`` holds as many steps as the boundary waits for."""
        if not self.boundary.ends_separator(tokens):
            return False
        text = self.boundary.tokenizer.decode(list(tokens))
        if self.part == "thought" and self.tags.closing in text:
            return False
        part = growing_part(text, self.part, self.tags, self.opened)
        return len(self.boundary.splitter.complete(part)) >= self.boundary.count


def read_prompts(
    generation: Generation,
    prompts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    tags: ThinkingTags,
) -> tuple[bool, ...]:
    """For each prompt of a call, whether it ends inside a thought.

    Args:
        generation: holds the prompts' token ids.
        prompts: the question of each prompt.
        tokenizer: the generator's tokenizer.
        tags: the texts before and after a thought.
    """
    ends = [
        str(tokenizer.decode(generation.unpadded_prompt(k)[-PROMPT_END:]))
        for k in range(len(prompts))
    ]
    return tuple(
        opens_thought(end, tags) or opens_thought(prompt, tags)
        for end, prompt in zip(ends, prompts, strict=True)
    )
