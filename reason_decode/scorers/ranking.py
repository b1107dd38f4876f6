"""Rankers: models trained to order whole solutions, whose scores weigh votes."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.messages import Prompt, to_prompts
from reason_decode.core.solutions import check_pairs, to_steps
from reason_decode.core.splitting import Splitting
from reason_decode.core.voting import VoteWeighting
from reason_decode.models.checkpoint import load_tokenizer
from reason_decode.models.heads import apply_head, attach_head, body_with_head, tensors_under
from reason_decode.models.inputs import EncodedSolution, check_loaded
from reason_decode.scorers.base import Session, check_finite
from reason_decode.scorers.causal import CausalScorer
from reason_decode.scorers.causal_reader import Span
from reason_decode.scorers.encoder_session import (
    EncoderSession,
    PairEncoder,
    body_auto_class,
    is_bidirectional,
    score_pairs,
)

__all__ = ["RankingHead", "RankingModel", "has_ranking_head", "tokenizer_with_window"]

_HEAD = "reward_head."


class RankingHead(nn.Module):
    """``sigmoid(w . f2(f1(x)))`` with ``f(x) = elu(W x) + x``.

    Args:
        hidden: size of x.

    Source: Yiwei98/TDG at ca86f56, code/RM/models_ft5.py, lines 42-58.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.first = nn.Linear(hidden, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 1)

    def logits(self, x: Tensor) -> Tensor:
        """Scores before the sigmoid, (...,), of vectors (..., h)."""
        x = elu(self.first(x)) + x
        x = elu(self.second(x)) + x
        return self.out(x).squeeze(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores in (0, 1), (...,), of vectors (..., h)."""
        return self.logits(x).sigmoid()


class RankingModel(CausalScorer):
    r"""Scores a solution by the mean of its hidden states: ``head(mean_t h_t)``, in (0, 1).

    It is trained on pairs of a right and a wrong solution of one problem, and its scores weigh
    votes: ``SelfConsistency(scorer=ranker)`` is adaptive self-consistency. The mean goes over the
    tokens of the solution. A causal model reads it after the prompt, an encoder as a pair:
    ``[cls] prompt [sep] solution [sep]``; if both are too long for it, it reads the end of each.

    Args:
        model: a body as ``AutoModel`` loads it: causal, or an encoder such as BERT or T5's. If it
            has no ranking head, it gets a new one.
        tokenizer: the tokenizer of ``model``; the generator may have another one.
        separator: the text after each step in the model's input; ``None``: what joins the steps of
            ``splitter``, or a newline.
        splitter: where a solution's text is split into steps: a ``StepSplitter``, a text, or
            several; ``None``: at ``separator``.
        chat: whether the prompt is a user's message in the tokenizer's chat template; ``None``: if
            there is one. Encoders read no chats.
        window: largest number of tokens of a pair that an encoder reads; ``None``: what its
            tokenizer and its positions allow.
        batch_tokens: largest number of tokens in one forward pass, padding included.

    Attributes:
        is_encoder: whether the model is an encoder.

    Raises:
        ValueError: the model has an output layer or a decoder, its vocabulary is smaller than the
            tokenizer's, the window is too small, or ``chat=True`` with an encoder.

    Source: Li et al. 2024, 2312.12832, adaptive self-consistency; the head and the mean as in
    Yiwei98/TDG at ca86f56, code/RM/models_ft5.py, which reads with T5's encoder (and leaves out
    pairs of more than 512 tokens).

    Examples:
        >>> from transformers import AutoModel
        >>> from reason_decode import RankingModel, SelfConsistency, tiny
        >>> t = tiny.load()
        >>> ranker = RankingModel(AutoModel.from_pretrained(tiny.WEIGHTS / "base"), t.tokenizer)
        >>> (score,) = ranker.score(["1 + 2 =\n"], ["3"])  # its head is new and has learned nothing
        >>> 0 < float(score) < 1
        True
        >>> vote = SelfConsistency(tokenizer=t.tokenizer, n=16, scorer=ranker)
    """

    per_step = False
    vote_weighting: VoteWeighting | None = "1+s"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        separator: str | None = None,
        splitter: Splitting | None = None,
        chat: bool | None = None,
        window: int | None = None,
        batch_tokens: int = 16_384,
    ) -> None:
        config: Any = getattr(model, "config", None)
        if getattr(config, "is_encoder_decoder", False) and hasattr(model, "decoder"):
            raise ValueError(
                f"got {type(model).__name__}, with a decoder, which a ranker does not use; pass "
                "the encoder alone, as T5EncoderModel.from_pretrained loads it"
            )
        check_loaded(model, tokenizer)
        if model.base_model is not model:
            raise ValueError(
                f"got {type(model).__name__}; a ranker has a head of its own: pass the body alone, "
                "as AutoModel.from_pretrained loads it"
            )
        if not hasattr(model, "reward_head"):
            attach_head(model, RankingHead(config.get_text_config().hidden_size))
        self.is_encoder = is_bidirectional(model)
        if self.is_encoder and chat:
            raise ValueError(
                f"got chat=True for {type(model).__name__}, an encoder, which reads a pair of "
                "texts; leave chat out"
            )
        super().__init__(model, tokenizer, separator, chat, batch_tokens, splitter)
        self.window: int | None = None
        if self.is_encoder:
            self.chat, self.prompt_suffix = False, ""
            self.pair_encoder = PairEncoder(model, self.cached_tokenizer, window)
            self.window = self.pair_encoder.window

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        separator: str | None = None,
        splitter: Splitting | None = None,
        chat: bool | None = None,
        window: int | None = None,
        **kwargs: Any,
    ) -> "RankingModel":
        """Load a ranker and its tokenizer from a folder or the Hub; no remote code is run.

        Args:
            path_or_id: a folder that ``save_pretrained`` wrote, or a Hub id.
            separator: the text after each step in the model's input.
            splitter: where a solution's text is split into steps.
            chat: whether to use the chat template; ``None``: if there is one.
            window: largest number of tokens that an encoder reads; ``None``: see the class.
            kwargs: passed to ``from_pretrained`` of the Auto class.

        Raises:
            ValueError: the checkpoint has no ranking head.
        """
        weights = tensors_under(path_or_id, _HEAD)
        head = RankingHead(len(weights["first.weight"]))
        auto = body_auto_class(path_or_id, trust_remote_code=False)
        model = body_with_head(path_or_id, head, _HEAD, weights, auto, **kwargs)
        tokenizer = load_tokenizer(path_or_id)
        return cls(
            model, tokenizer, separator=separator, splitter=splitter, chat=chat, window=window
        )

    def save_pretrained(self, folder: str | Path) -> None:
        """Write body, head and tokenizer as one checkpoint; an encoder's window is kept."""
        self.model.save_pretrained(folder)
        tokenizer_with_window(self.tokenizer, self.window).save_pretrained(folder)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        return {**super().settings(), "window": self.window}

    def score(
        self, prompts: Sequence[Prompt], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """One score (1,) a solution, (0,) for one without steps; see ``Scorer.score``.

        Raises:
            ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
        """
        if not self.is_encoder:
            return super().score(prompts, solutions)
        texts = to_prompts(prompts)
        check_pairs(texts, solutions)
        scores, _ = score_pairs(self, texts, to_steps(solutions, self.splitter, self.per_step))
        check_finite(scores, [f"solution {k}" for k in range(len(scores))])
        return scores

    def start_session(self, prompts: Sequence[Prompt]) -> Session:
        """A session; a causal model reads each token once, an encoder all of them each round."""
        texts = to_prompts(prompts)
        return EncoderSession(self, texts) if self.is_encoder else super().start_session(texts)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """``prompt (step separator)*``, scored over all tokens after the prompt."""
        tokenizer, separator = self.cached_tokenizer, self.separator
        if self.is_encoder:
            return self.pair_encoder.encode(prompt, separator.join(steps))
        if self.chat:
            message = {"role": "user", "content": prompt}
            ids = list(tokenizer.encode_cached(tokenizer.render_chat([message], generate=True)))
        else:
            ids = tokenizer.encode_plain(prompt, (), separator).ids
        start = len(ids)
        for step in steps:
            ids += [*tokenizer.encode_cached(step), *tokenizer.encode_cached(separator)]
        return EncodedSolution(ids, [len(ids) - 1], [start]) if steps else EncodedSolution(ids, [])

    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """The score of each solution, (len(spans),)."""
        means = torch.stack([span.features.float().mean(dim=0) for span in spans])
        return apply_head(self.model, means.to(self.model.dtype))


def has_ranking_head(path_or_id: str | Path) -> bool:
    """True if a checkpoint is that of a ranker.

    Args:
        path_or_id: a folder or a Hub id.
    """
    try:
        tensors_under(path_or_id, _HEAD)
    except ValueError:
        return False
    return True


def tokenizer_with_window(
    tokenizer: PreTrainedTokenizerBase, window: int | None
) -> PreTrainedTokenizerBase:
    """A tokenizer whose ``model_max_length`` is the window, which no other file of a model holds.

    Args:
        tokenizer: the tokenizer; it is copied if it must be changed.
        window: largest number of tokens that an encoder reads; ``None`` changes nothing.
    """
    if window is None or window == tokenizer.model_max_length:
        return tokenizer
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = window
    return tokenizer
