"""Process reward models: one probability of being right for each step.

Reads models for token classification with two labels, as TRL's ``PRMTrainer`` trained them (trl
1.13, ``trl/experimental/prm/prm_trainer.py``): prompt, then each step followed by a separator,
every piece tokenised by itself; the second label's probability at the separator's last token is the
score.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DynamicCache,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from reason_decode.cache import RowCache, check_branchable, row_length, stack_rows, take_row
from reason_decode.scorers.base import as_steps, check_finite
from reason_decode.steps import StepSplitter

# Stateless scoring goes over so many solutions at a time, to bound what is held of their prompts.
_WINDOW = 512
_LAYOUT = "token classification with two labels (wrong, right)"


class ProcessRewardModel:
    """Scores each step of a solution: P(right) at the step's end, in [0, 1].

    Args:
        model: a token-classification model with two labels; the second means right.
        tokenizer: the model's own; it need not be the generator's, text is the common ground.
        separator: what ends a step.
        batch_tokens: at most this many tokens, padding included, go through one forward pass.

    Raises:
        ValueError: the model has another head, or its vocabulary is smaller than the tokenizer's.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        separator: str = "\n",
        batch_tokens: int = 16_384,
    ) -> None:
        if "TokenClassification" not in type(model).__name__ or model.config.num_labels != 2:
            raise ValueError(
                f"got {type(model).__name__} with {model.config.num_labels} labels; "
                f"allowed is {_LAYOUT}"
            )
        embeddings: Any = model.get_input_embeddings()  # typed as any module, which has no size
        if len(tokenizer) > embeddings.num_embeddings:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens, the process reward model only "
                f"{embeddings.num_embeddings}; pass the tokenizer that belongs to it"
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.splitter = StepSplitter(separator)
        self.batch_tokens = batch_tokens
        self.separator_ids = _ids(tokenizer, separator)

    @classmethod
    def from_pretrained(
        cls, path_or_id: str | Path, *, separator: str = "\n", **kwargs: Any
    ) -> "ProcessRewardModel":
        """Load a model and its tokenizer from a folder or the Hub.

        Args:
            path_or_id: a local folder or a Hub id.
            separator: what ends a step.
            kwargs: passed to ``AutoModelForTokenClassification.from_pretrained``, such as dtype or
                device_map.

        Raises:
            ValueError: the checkpoint holds another kind of model.
        """
        config = AutoConfig.from_pretrained(path_or_id)
        kinds = config.architectures or ["an unnamed architecture"]
        if not any("TokenClassification" in kind for kind in kinds):
            raise ValueError(
                f"got {', '.join(kinds)} in {path_or_id}; a process reward model is one for "
                f"{_LAYOUT}"
            )
        model = AutoModelForTokenClassification.from_pretrained(path_or_id, **kwargs)
        return cls(model, AutoTokenizer.from_pretrained(path_or_id), separator=separator)

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """P(right) of every step; a prompt with several solutions in a row is read once.

        Args:
            prompts: one a solution.
            solutions: text, split at the separator, or ready lists of steps.

        Returns:
            float32 (s,) a solution; (0,) for one without steps.

        Raises:
            ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
        """
        if len(prompts) != len(solutions):
            raise ValueError(
                f"got {len(prompts)} prompts for {len(solutions)} solutions; pass one prompt each"
            )
        steps = as_steps(solutions, self.splitter)
        scores: list[Tensor] = []
        for start in range(0, len(steps), _WINDOW):
            scores += self._score_window(
                prompts[start : start + _WINDOW], steps[start : start + _WINDOW]
            )
        check_finite(scores, [f"solution {k}" for k in range(len(scores))])
        return scores

    def _score_window(self, prompts: Sequence[str], steps: Sequence[list[str]]) -> list[Tensor]:
        unique = list(dict.fromkeys(prompts))
        session = ProcessSession(self, unique)
        pasts = [session.trajectories[unique.index(prompt)] for prompt in prompts]
        texts = [_steps_text(self, piece) for piece in steps]
        return [read.scores for read in session.read(pasts, texts, remember=False)]

    def open(self, prompts: Sequence[str]) -> "ProcessSession":
        """A session that reads each prompt and each step once."""
        return ProcessSession(self, prompts)


class _Text(NamedTuple):
    """Token ids, and where in them each step ends."""

    ids: list[int]
    ends: list[int]


class _Read(NamedTuple):
    """Scores of the steps just read, and the cache behind them (``None`` if not remembered)."""

    scores: Tensor
    cache: RowCache | None


class ProcessSession:
    """What a process reward model has read of each trajectory; see ``Session``.

    Args:
        scorer: the model.
        prompts: where each trajectory begins.

    Raises:
        ValueError: a prompt without tokens, or a model whose cache cannot be branched.
    """

    def __init__(self, scorer: ProcessRewardModel, prompts: Sequence[str]) -> None:
        check_branchable(DynamicCache(config=scorer.model.config), "ProcessRewardModel")
        self.scorer = scorer
        self.tokens = 0
        texts = [_Text(list(scorer.tokenizer(prompt)["input_ids"]), []) for prompt in prompts]
        for prompt, text in zip(prompts, texts, strict=True):
            if not text.ids:
                raise ValueError(f"got the prompt {prompt!r}, which has no tokens; pass some text")
        self.trajectories = [read.cache for read in self.read([None] * len(texts), texts)]
        self._candidates: list[list[_Read]] = []

    def score(
        self, candidates: Sequence[Sequence[Sequence[str]]], remember: bool = True
    ) -> list[list[Tensor]]:
        """P(right) of the new steps of each candidate; see ``Session.score``.

        Raises:
            ValueError: a blank step, or a score that is not finite.
        """
        groups = [as_steps(group, self.scorer.splitter) for group in candidates]
        pasts = [self.trajectories[i] for i, group in enumerate(groups) for _ in group]
        texts = [_steps_text(self.scorer, steps) for group in groups for steps in group]
        reads = iter(self.read(pasts, texts, remember))
        self._candidates = [[next(reads) for _ in group] for group in groups]
        names = [
            f"candidate {j} of trajectory {i}" for i, g in enumerate(groups) for j in range(len(g))
        ]
        check_finite([read.scores for group in self._candidates for read in group], names)
        return [[read.scores for read in group] for group in self._candidates]

    def keep(self, choice: Sequence[tuple[int, int]]) -> None:
        """Go on with the chosen ``(trajectory, candidate)`` pairs of the last ``score``."""
        self.trajectories = [self._candidates[i][j].cache for i, j in choice]
        self._candidates = []

    def read(
        self, pasts: Sequence[RowCache | None], texts: Sequence[_Text], remember: bool = True
    ) -> list[_Read]:
        """Read each text behind its past, in batches of similar length."""
        empty = torch.zeros(0)
        reads = [_Read(empty, past if remember else None) for past in pasts]
        order = sorted(
            (k for k, text in enumerate(texts) if text.ids), key=lambda k: len(texts[k].ids)
        )
        while order:
            batch = [order.pop()]
            while order and self._fits(pasts, texts, [*batch, order[-1]]):
                batch.append(order.pop())
            fresh = self._forward([pasts[k] for k in batch], [texts[k] for k in batch], remember)
            for k, read in zip(batch, fresh, strict=True):
                reads[k] = read
        return reads

    def _fits(
        self, pasts: Sequence[RowCache | None], texts: Sequence[_Text], batch: Sequence[int]
    ) -> bool:
        past = max(_length(pasts[k]) for k in batch)
        return len(batch) * (past + len(texts[batch[0]].ids)) <= self.scorer.batch_tokens

    @torch.no_grad()
    def _forward(
        self, pasts: Sequence[RowCache | None], texts: Sequence[_Text], remember: bool
    ) -> list[_Read]:
        """One forward pass: pasts padded on the left, new tokens padded on the right."""
        model = self.scorer.model
        old = [_length(past) for past in pasts]
        before, width = max(old), max(len(text.ids) for text in texts)
        ids = torch.zeros(len(texts), width, dtype=torch.long)
        mask = torch.zeros(len(texts), before + width, dtype=torch.long)
        for k, text in enumerate(texts):
            ids[k, : len(text.ids)] = torch.tensor(text.ids)
            mask[k, before - old[k] : before + len(text.ids)] = 1
        held = [past for past in pasts if past is not None]
        cache = stack_rows(held, model.config) if held else DynamicCache(config=model.config)
        logits = model(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            position_ids=(torch.tensor(old)[:, None] + torch.arange(width)).to(model.device),
            past_key_values=cache,
            use_cache=True,
        ).logits
        self.tokens += sum(len(text.ids) for text in texts)
        right = logits.float().softmax(dim=-1)[..., 1].cpu()
        return [
            _Read(
                right[k, text.ends],
                take_row(cache, k, before - old[k], before + len(text.ids)) if remember else None,
            )
            for k, text in enumerate(texts)
        ]


def _steps_text(scorer: ProcessRewardModel, steps: Sequence[str]) -> _Text:
    text = _Text([], [])
    for step in steps:
        text.ids.extend([*_ids(scorer.tokenizer, step), *scorer.separator_ids])
        text.ends.append(len(text.ids) - 1)
    return text


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _length(past: RowCache | None) -> int:
    return 0 if past is None else row_length(past)
