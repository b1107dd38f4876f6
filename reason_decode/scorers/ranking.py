"""Rankers: how much a whole solution deserves its vote."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.voting import VoteWeighting
from reason_decode.models.checkpoint import load_tokenizer
from reason_decode.models.heads import apply_head, attach_head, body_with_head, tensors_under
from reason_decode.models.tokenization import check_loaded
from reason_decode.scorers.base import Session
from reason_decode.scorers.cached_session import EncodedSolution, Span
from reason_decode.scorers.causal import Reader
from reason_decode.scorers.checks import check_pairs, to_steps
from reason_decode.scorers.encoder_session import (
    EncodingSession,
    PairEncoder,
    auto_class,
    is_bidirectional,
)

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
        """What the sigmoid is taken of, (...,), of vectors (..., h)."""
        x = elu(self.first(x)) + x
        x = elu(self.second(x)) + x
        return self.out(x).squeeze(-1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores in (0, 1), (...,), of vectors (..., h)."""
        return self.logits(x).sigmoid()


class RankingModel(Reader):
    r"""Scores a solution by the mean of its hidden states: ``head(mean_t h_t)``, in (0, 1).

    It is trained on pairs of a right and a wrong solution of one problem, and is there to weigh
    votes: ``SelfConsistency(scorer=ranker)`` is adaptive self-consistency. The mean goes over the
    tokens of the solution. A causal model reads it behind the prompt, an encoder as a pair:
    ``[cls] prompt [sep] solution [sep]``, of which it reads the ends where both are too long.

    Args:
        model: a body as of ``AutoModel``: causal, or an encoder such as BERT or T5's. It is given a
            new head if it has none.
        tokenizer: the model's own; it need not be the generator's, text is the common ground.
        separator: what ends a step in a solution.
        chat: whether the prompt is a user's turn of the tokenizer's chat template; ``None``: if
            there is one. An encoder knows no turns.
        window: at most this many tokens of a pair are read by an encoder; ``None``: what its
            tokenizer and its positions allow.
        batch_tokens: at most this many tokens, padding included, go through one forward pass.

    Raises:
        ValueError: the model has an output layer or a decoder of its own, its vocabulary is smaller
            than the tokenizer's, the window has no room, or an encoder is to read a chat.

    Source: Li et al. 2024, 2312.12832, adaptive self-consistency; the head and the mean as in
    Yiwei98/TDG at ca86f56, code/RM/models_ft5.py, which reads with T5's encoder (and leaves out
    pairs of more than 512 tokens).

    Example:
        >>> from transformers import AutoModel
        >>> from reason_decode import RankingModel, SelfConsistency, tiny
        >>> t = tiny.load()
        >>> ranker = RankingModel(AutoModel.from_pretrained(tiny.WEIGHTS / "base"), t.tokenizer)
        >>> (score,) = ranker.score(["1 + 2 =\n"], ["3"])  # its head is new, and has learnt nothing
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
        separator: str = "\n",
        chat: bool | None = None,
        window: int | None = None,
        batch_tokens: int = 16_384,
    ) -> None:
        config: Any = getattr(model, "config", None)
        if getattr(config, "is_encoder_decoder", False) and hasattr(model, "decoder"):
            raise ValueError(
                f"got {type(model).__name__}, with a decoder, which a ranker has no use for; pass "
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
        self.encodes = is_bidirectional(model)
        if self.encodes and chat:
            raise ValueError(
                f"got chat=True for {type(model).__name__}, an encoder, which reads a pair of "
                "texts; leave chat out"
            )
        super().__init__(model, tokenizer, separator, chat, batch_tokens)
        self.window = None
        if self.encodes:
            self.chat, self.prompt_suffix = False, ""
            self.pairs = PairEncoder(model, self.words, window)
            self.window = self.pairs.window

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        separator: str = "\n",
        chat: bool | None = None,
        window: int | None = None,
        **kwargs: Any,
    ) -> "RankingModel":
        """Load a ranker and its tokenizer from a folder or the Hub; no remote code is run.

        Args:
            path_or_id: a folder that ``save_pretrained`` wrote, or a Hub id.
            separator: what ends a step in a solution.
            chat: whether to use the chat template; ``None``: if there is one.
            window: of an encoder, see the class.
            kwargs: passed to ``from_pretrained`` of the Auto class.

        Raises:
            ValueError: the checkpoint has no ranking head.
        """
        weights = tensors_under(path_or_id, _HEAD)
        head = RankingHead(len(weights["first.weight"]))
        auto = auto_class(path_or_id, trust_remote_code=False)
        model = body_with_head(path_or_id, head, weights, auto, **kwargs)
        tokenizer = load_tokenizer(path_or_id)
        return cls(model, tokenizer, separator=separator, chat=chat, window=window)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write body, head and tokenizer as one checkpoint; an encoder's window is kept."""
        self.model.save_pretrained(folder)
        with_window(self.tokenizer, self.window).save_pretrained(folder)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        return {**super().settings(), "window": self.window}

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """One score (1,) a solution, (0,) of one without steps; see ``Reader.score``.

        Raises:
            ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
        """
        if not self.encodes:
            return super().score(prompts, solutions)
        check_pairs(prompts, solutions)
        steps = to_steps(solutions, self.splitter)
        alone = EncodingSession(self, prompts).score([[x] for x in steps], keep_cache=False)
        return [score for (score,) in alone]

    def start_session(self, prompts: Sequence[str]) -> Session:
        """A session that reads each prompt and each step once; an encoder reads them anew."""
        return EncodingSession(self, prompts) if self.encodes else super().start_session(prompts)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """``prompt (step separator)*``, judged over all that follows the prompt."""
        if self.encodes:
            return self.pairs.encode(prompt, self.splitter.separator.join(steps))
        if self.chat:
            prompt = self.words.chat([{"role": "user", "content": prompt}], generate=True)
            ids = list(self.words.ids(prompt))
        else:
            ids = self.words.plain(prompt, (), "").ids
        start = len(ids)
        for step in steps:
            ids += [*self.words.ids(step), *self.words.ids(self.splitter.separator)]
        return EncodedSolution(ids, [len(ids) - 1], [start]) if steps else EncodedSolution(ids, [])

    def judge(self, spans: Sequence[Span]) -> Tensor:
        """One score a solution."""
        means = torch.stack([span.features.float().mean(dim=0) for span in spans])
        return apply_head(self.model, means.to(self.model.dtype))


def has_head(path_or_id: str | Path) -> bool:
    """Whether a checkpoint is a ranker's."""
    try:
        tensors_under(path_or_id, _HEAD)
    except ValueError:
        return False
    return True


def with_window(tokenizer: PreTrainedTokenizerBase, window: int | None) -> PreTrainedTokenizerBase:
    """A tokenizer that says how much is read; checkpoints have no other place to say it."""
    if window is None or window == tokenizer.model_max_length:
        return tokenizer
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = window
    return tokenizer
