"""Scorers that read a solution with a causal model, and their sessions."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.messages import Prompt, to_prompts, turns
from reason_decode.core.solutions import check_pairs, check_text, to_steps
from reason_decode.core.splitting import Splitting, prompt_suffix_for
from reason_decode.models.heads import hub_id_or_path
from reason_decode.scorers.base import Candidates, Scorer, ScoreSpace, Session, check_finite
from reason_decode.scorers.causal_reader import CausalReader, Span
from reason_decode.scorers.prefix_cache import PrefixReader, PrefixState

__all__ = ["MAX_SOLUTIONS", "CachedSession", "CausalScorer"]

MAX_SOLUTIONS = 512
"""Scoring without a session takes this many solutions at a time, which bounds the memory of
prompts."""


class CachedSession(Session):
    """A session of a causal model; see ``Session``.

    Args:
        reader: the model with its layout.
        prompts: the prompt that each trajectory begins with.

    Raises:
        ValueError: a prompt without tokens.
    """

    def __init__(self, reader: CausalReader, prompts: Sequence[Prompt]) -> None:
        super().__init__(to_prompts(prompts))
        self.reader, self._prefix_reader = reader, PrefixReader(reader)
        for k, prompt in enumerate(self.prompts):
            check_text(prompt, f"prompt {k}")
        self.steps: list[tuple[str, ...]] = [()] * len(self.prompts)
        self.states = self._prefix_reader.read_prompts(self.prompts)
        self.tokens_read = self._prefix_reader.tokens_read
        self._candidates: list[list[tuple[tuple[str, ...], PrefixState]]] = []

    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        """Scores of the new steps of each candidate; see ``Session.score``.

        Raises:
            ValueError: a blank step, or a score that is not finite.
        """
        new = [to_steps(group, self.reader.splitter, self.reader.per_step) for group in candidates]
        owners = [i for i, group in enumerate(new) for _ in group]
        steps = [(*self.steps[i], *x) for i, group in enumerate(new) for x in group]
        before = [self.states[i] for i in owners]
        encoded = [
            self.reader.encode(self.prompts[i], x) if len(x) > len(self.steps[i]) else state.encoded
            for i, x, state in zip(owners, steps, before, strict=True)
        ]
        states = self._prefix_reader.read(before, encoded, keep_cache)
        self.tokens_read = self._prefix_reader.tokens_read
        # A score of the whole solution is a new one each time.
        scores = [
            state.scores[len(old.scores) if self.reader.per_step else 0 :]
            for old, state in zip(before, states, strict=True)
        ]
        check_finite(
            scores,
            [f"candidate {j} of trajectory {i}" for i, x in enumerate(new) for j in range(len(x))],
        )
        found, rest = iter(scores), iter(zip(steps, states, strict=True))
        self._candidates = [[next(rest) for _ in group] for group in new] if keep_cache else []
        return [[next(found) for _ in group] for group in new]

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Continue with the chosen ``(trajectory, candidate)`` pairs of the last ``score``."""
        chosen = [self._candidates[i][j] for i, j in choice]
        self.steps = [steps for steps, _ in chosen]
        self.states = [state for _, state in chosen]
        self.prompts = [self.prompts[i] for i, _ in choice]
        self._candidates = []


class CausalScorer(CausalReader, Scorer):
    """A scorer that reads a solution with a causal model, each token once.

    Subclasses write ``encode``, which lays a solution out as ids and says where it is scored, and
    ``score_spans``, which turns the model's features there into scores.

    Args:
        model: the model; it is put into evaluation mode.
        tokenizer: the tokenizer of ``model``; the generator may have another one.
        separator: the text after each step in the model's input; see ``CausalReader``.
        chat: whether the prompt is a user's message in the tokenizer's chat template; ``None``: if
            the tokenizer has one.
        batch_tokens: largest number of tokens in one forward pass, padding included.
        splitter: where a solution's text is split into steps; ``None``: at ``separator``.

    Raises:
        ValueError: the model's vocabulary is smaller than the tokenizer's, or ``chat=True`` without
            a chat template.
    """

    score_space: ScoreSpace = "probability"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        separator: str | None,
        chat: bool | None,
        batch_tokens: int,
        splitter: Splitting | None = None,
    ) -> None:
        super().__init__(model, tokenizer, separator, chat, batch_tokens, splitter)
        self.prompt_suffix = "" if self.chat else prompt_suffix_for(self.separator)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        return {
            "path_or_id": hub_id_or_path(self.model),
            "separator": self.separator,
            "chat": self.chat,
            **self.splitter_settings(),
        }

    def score(
        self, prompts: Sequence[Prompt], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Scores of each solution; a prompt is read once for several solutions in a row.

        Args:
            prompts: the prompt of each solution, a text or a conversation.
            solutions: texts, split at the separator, or lists of steps.

        Returns:
            For each solution float32 (s,) from a scorer of steps, (1,) from one of whole solutions;
            (0,) for a solution without steps.

        Raises:
            ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
        """
        texts = to_prompts(prompts)
        check_pairs(texts, solutions)
        steps = to_steps(solutions, self.splitter, self.per_step)
        prefix_reader = PrefixReader(self)
        scores: list[Tensor] = []
        for start in range(0, len(steps), MAX_SOLUTIONS):
            window = slice(start, start + MAX_SOLUTIONS)
            # Conversations may end in the same question.
            keys = [repr(turns(prompt)) for prompt in texts[window]]
            distinct = dict(zip(keys, texts[window], strict=True))
            read = prefix_reader.read_prompts([*distinct.values()])
            states = dict(zip(distinct, read, strict=True))
            before = [states[key] for key in keys]
            encoded = [
                self.encode(prompt, x) if x else state.encoded
                for prompt, x, state in zip(texts[window], steps[window], before, strict=True)
            ]
            scores += [x.scores for x in prefix_reader.read(before, encoded, keep_cache=False)]
        check_finite(scores, [f"solution {k}" for k in range(len(scores))])
        return scores

    def start_session(self, prompts: Sequence[Prompt]) -> Session:
        """A session that reads each prompt and each step once."""
        return CachedSession(self, prompts)

    @abstractmethod
    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """One score a span, (len(spans),)."""
