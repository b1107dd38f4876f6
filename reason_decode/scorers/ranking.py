"""Rankers: how much a whole solution deserves its vote."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import elu
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.scorers.checkpoint import load_words
from reason_decode.scorers.reader import Reader
from reason_decode.scorers.reading import Layout, Span
from reason_decode.scorers.weights import body_with_head, put_head, tensors_under, through_head
from reason_decode.scorers.words import check_loaded

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

    def forward(self, x: Tensor) -> Tensor:
        """Scores in (0, 1), (...,), of vectors (..., h)."""
        x = elu(self.first(x)) + x
        x = elu(self.second(x)) + x
        return self.out(x).squeeze(-1).sigmoid()


class RankingModel(Reader):
    r"""Scores a solution by the mean of its hidden states: ``head(mean_t h_t)``, in (0, 1).

    It is trained on pairs of a right and a wrong solution of one problem, and is there to weigh
    votes: ``SelfConsistency(weigh=ranker)`` is adaptive self-consistency. The mean goes over the
    tokens of the solution, which a causal model reads behind the prompt.

    Args:
        model: a causal body (as of ``AutoModel``); it is given a new head if it has none.
        tokenizer: the model's own; it need not be the generator's, text is the common ground.
        separator: what ends a step in a solution.
        chat: whether the prompt is a user's turn of the tokenizer's chat template; ``None``: if
            there is one.
        batch_tokens: at most this many tokens, padding included, go through one forward pass.

    Raises:
        ValueError: the model has an output layer of its own, or its vocabulary is smaller than the
            tokenizer's.

    Source: Li et al. 2024, 2312.12832, adaptive self-consistency; the head and the mean as in
    Yiwei98/TDG at ca86f56, code/RM/models_ft5.py, which reads with T5's encoder.

    Example:
        >>> from transformers import AutoModel
        >>> from reason_decode import RankingModel, SelfConsistency, tiny
        >>> t = tiny.load()
        >>> ranker = RankingModel(AutoModel.from_pretrained(tiny.WEIGHTS / "base"), t.tokenizer)
        >>> (score,) = ranker.score(["1 + 2 =\n"], ["3"])  # its head is new, and has learnt nothing
        >>> 0 < float(score) < 1
        True
        >>> vote = SelfConsistency(tokenizer=t.tokenizer, n=16, weigh=ranker)
    """

    per_step = False

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        separator: str = "\n",
        chat: bool | None = None,
        batch_tokens: int = 16_384,
    ) -> None:
        check_loaded(model, tokenizer)
        if model.base_model is not model:
            raise ValueError(
                f"got {type(model).__name__}; a ranker has a head of its own: pass the body alone, "
                "as AutoModel.from_pretrained loads it"
            )
        if not hasattr(model, "reward_head"):
            config: Any = model.config.get_text_config()
            put_head(model, RankingHead(config.hidden_size))
        super().__init__(model, tokenizer, separator, chat, batch_tokens)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        separator: str = "\n",
        chat: bool | None = None,
        **kwargs: Any,
    ) -> "RankingModel":
        """Load a ranker and its tokenizer from a folder or the Hub; no remote code is run.

        Args:
            path_or_id: a folder that ``save_pretrained`` wrote, or a Hub id.
            separator: what ends a step in a solution.
            chat: whether to use the chat template; ``None``: if there is one.
            kwargs: passed to ``AutoModel.from_pretrained``.

        Raises:
            ValueError: the checkpoint has no ranking head.
        """
        weights = tensors_under(path_or_id, _HEAD)
        head = RankingHead(len(weights["first.weight"]))
        model = body_with_head(path_or_id, head, weights, **kwargs)
        tokenizer = load_words(path_or_id)
        return cls(model, tokenizer, separator=separator, chat=chat)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write body, head and tokenizer as one checkpoint."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def lay_out(self, prompt: str, steps: Sequence[str]) -> Layout:
        """``prompt (step separator)*``, judged over all that follows the prompt."""
        if self.chat:
            prompt = self.words.chat([{"role": "user", "content": prompt}], generate=True)
            ids = list(self.words.ids(prompt))
        else:
            ids = self.words.plain(prompt, (), "").ids
        start = len(ids)
        for step in steps:
            ids += [*self.words.ids(step), *self.words.ids(self.splitter.separator)]
        return Layout(ids, [len(ids) - 1], [start]) if steps else Layout(ids, [])

    def judge(self, spans: Sequence[Span]) -> Tensor:
        """One score a solution."""
        means = torch.stack([span.features.float().mean(dim=0) for span in spans])
        return through_head(self.model, means.to(self.model.dtype))
