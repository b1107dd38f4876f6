"""Rationales as process supervision: a step is as good as a rationale makes it likely."""

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from reason_decode.models.checkpoint import load_checkpoint, load_tokenizer
from reason_decode.models.heads import hub_id_or_path
from reason_decode.scorers.base import ScoreSpace, Session
from reason_decode.scorers.cached_session import WINDOW, CachedSession, EncodedSolution, Read, Span
from reason_decode.scorers.causal import Reader
from reason_decode.scorers.checks import check_finite, check_pairs, to_steps
from reason_decode.scorers.likelihood import Text, token_logps
from reason_decode.scorers.rationale_writer import (
    Rationale,
    RationaleWriter,
    trajectory_text,
    without_rationales,
)


class RationaleScorer(Reader):
    r"""Scores a step by its log-likelihood once a rationale for it has been read.

    ``sum_i w_i logp(step_i | prompt, steps before, rationale, step_<i) / sum_i w_i`` in nats a
    token, ``w_i = discount ** i``, with ``mean=False`` the sum alone; with ``subtract`` less the
    same without the rationale. Before
    each step the writer writes one rationale for the trajectory so far, which all candidates share;
    rationales of earlier steps are gone from what is read.

    Args:
        writer: writes the rationales.
        model: finds steps likely, the generator say; ``None``: the writer's model.
        tokenizer: the model's own.
        chat: whether trajectory and step are a user's and an assistant's turn; ``None``: if the
            tokenizer has a chat template.
        discount: above 0, at most 1; 1 is the mean.
        subtract: whether to subtract the likelihood without the rationale.
        mean: whether to divide by the weights of all tokens. The mean forgives a step its few
            decisive tokens where many follow by themselves; the sum is the step's probability.
        batch_tokens: at most this many tokens, padding included, go through one forward pass.

    Raises:
        ValueError: a discount out of range, a model without its tokenizer, or a tokenizer that does
            not say where its tokens stand.

    Source: Jiang et al. 2024, 2410.01044, section 3.3; the mean: ``inference_no_length.py`` of
    JHU-CLSP/RATIONALYST at be0b1cf; the discount: ``inference.py`` there, and its filter.

    Example:
        >>> from reason_decode import RationaleScorer, tiny
        >>> scorer = RationaleScorer.from_pretrained(tiny.WEIGHTS / "base", max_new_tokens=8)
        >>> steps = [["10 - 4 = 6 (left: 5 6 6)"], ["I like trains"]]
        >>> good, bad = scorer.score(["Make 36 from 4 5 6 10.\n"] * 2, steps)
        >>> bool(good > bad)
        True
    """

    score_space: ScoreSpace = "log_probability"

    def __init__(
        self,
        writer: RationaleWriter,
        model: PreTrainedModel | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        chat: bool | None = None,
        discount: float = 1.0,
        subtract: bool = False,
        mean: bool = True,
        batch_tokens: int = 16_384,
    ) -> None:
        if not 0 < discount <= 1:
            raise ValueError(f"got discount={discount}; need more than 0 and at most 1")
        if (model is None) is not (tokenizer is None):
            raise ValueError("got a model without a tokenizer, or the reverse; pass both or none")
        separator = writer.splitter.separator
        super().__init__(
            model or writer.model, tokenizer or writer.tokenizer, separator, chat, batch_tokens
        )
        self.writer, self.discount, self.subtract, self.mean = writer, discount, subtract, mean
        self.text = Text(self.tokenizer, self.chat)

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        model: PreTrainedModel | str | Path | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        separator: str = "\n",
        chat: bool | None = None,
        max_new_tokens: int | None = None,
        discount: float = 1.0,
        subtract: bool = False,
        mean: bool = True,
        **kwargs: Any,
    ) -> "RationaleScorer":
        """Load the rationale model and its tokenizer from a folder or the Hub; no remote code.

        Args:
            path_or_id: a local folder or a Hub id.
            model: scores the steps, or the folder or Hub id that it and its tokenizer are loaded
                from; ``None``: the rationale model.
            tokenizer: the tokenizer of a loaded ``model``.
            separator: what ends a step in a solution.
            chat: whether to use chat templates; ``None``: each model's, if it has one.
            max_new_tokens: of a rationale; ``None``: see ``RationaleWriter``.
            discount: above 0, at most 1; 1 is the mean.
            subtract: whether to subtract the likelihood without the rationale.
            mean: whether to divide by the weights of all tokens.
            kwargs: passed to ``AutoModelForCausalLM.from_pretrained``.
        """
        if isinstance(model, str | Path):
            loaded, tokenizer = load_checkpoint(AutoModelForCausalLM, model), load_tokenizer(model)
        else:
            loaded = model
        writes = load_checkpoint(AutoModelForCausalLM, path_or_id, **kwargs)
        # An adapter's folder gives a model that is named after the one below it.
        writes.name_or_path = str(path_or_id)
        writer = RationaleWriter(
            writes,
            load_tokenizer(path_or_id),
            separator=separator,
            chat=chat,
            max_new_tokens=max_new_tokens,
        )
        how: dict[str, Any] = {"chat": chat, "discount": discount, "subtract": subtract}
        return cls(writer, loaded, tokenizer, **how, mean=mean)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        own = {} if self.model is self.writer.model else {"model": hub_id_or_path(self.model)}
        return {
            "path_or_id": hub_id_or_path(self.writer.model),
            **own,
            "separator": self.splitter.separator,
            "chat": self.chat,
            "max_new_tokens": self.writer.how.max_new_tokens,
            "discount": self.discount,
            "subtract": self.subtract,
            "mean": self.mean,
        }

    def max_steps(self, prompt: str, steps: Sequence[str]) -> int:
        """Number of leading steps that fit into the positions of both models, rationales included.

        Args:
            prompt: the prompt.
            steps: the steps, none of them blank.
        """
        limits = [_positions(model) for model in (self.model, self.writer.model)]
        known = [limit for limit in limits if limit is not None]
        if not known:
            return len(steps)
        room = min(known) - (self.writer.how.max_new_tokens or 0)

        def exceeds(k: int) -> bool:
            told = [*steps[:k], Rationale(" "), steps[k]]
            asked = self.writer.encode(prompt, steps[:k]).ids
            return max(len(self.encode(prompt, told).ids), len(asked)) > room

        return bisect_left(range(len(steps)), True, key=exceeds)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The trajectory, a rationale if one stands at its end or before its last step, the step.

        The last step is judged, unless a rationale is last.
        """
        step = "" if not steps or isinstance(steps[-1], Rationale) else steps[-1]
        before = steps[:-1] if step else steps
        told = before[-1] if before and isinstance(before[-1], Rationale) else None
        separator = self.splitter.separator
        text = trajectory_text(prompt, before, separator)
        if told:
            text += self.writer.tags.around(told)
        if self.chat:
            text = self.words.chat([{"role": "user", "content": text}], generate=True)
        whole = text + step + separator if step else text
        return self.text.encode(whole, [len(text), len(whole)] if step else ())

    def judge(self, spans: Sequence[Span]) -> Tensor:
        """The weighted mean of each span's log-probabilities, or their sum, in nats."""
        return torch.stack([self._weighed(logp) for logp in token_logps(self.model, spans)])

    def _weighed(self, logp: Tensor) -> Tensor:
        weights = self.discount ** torch.arange(len(logp), device=logp.device)
        found = (weights * logp).sum()
        return found / weights.sum() if self.mean else found

    def start_session(self, prompts: Sequence[str]) -> "RationaleSession":
        """A session that writes one rationale a trajectory and round."""
        return RationaleSession(self, prompts)

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """The scores of every solution's steps; see ``Scorer.score``.

        Raises:
            ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
        """
        check_pairs(prompts, solutions)
        steps = to_steps(solutions, self.splitter)
        scores: list[Tensor] = []
        for start in range(0, len(steps), WINDOW):
            window = slice(start, start + WINDOW)
            scores += self._score(prompts[window], steps[window])
        return scores

    def _score(self, prompts: Sequence[str], solutions: Sequence[Sequence[str]]) -> list[Tensor]:
        """The scores of so many solutions that one session can hold their prompts."""
        places = {prompt: i for i, prompt in enumerate(dict.fromkeys(prompts))}
        groups: list[list[Sequence[str]]] = [[] for _ in places]
        for prompt, steps in zip(prompts, solutions, strict=True):
            groups[places[prompt]].append(steps)
        found = self.start_session(list(places)).score(groups, keep_cache=False)
        rest = [iter(group) for group in found]
        return [next(rest[places[prompt]]) for prompt in prompts]


def _positions(model: PreTrainedModel) -> int | None:
    """How many positions a model has, if it says so."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


class _Thread(NamedTuple):
    """A trajectory as both models have read it, and its rationale once there is one."""

    prompt: str
    read: Read
    asked: Read
    rationale: str | None = None


class RationaleSession(Session):
    """Trajectories with a rationale each; see ``Session``.

    Args:
        scorer: the scorer.
        prompts: where each trajectory begins.
    """

    def __init__(self, scorer: RationaleScorer, prompts: Sequence[str]) -> None:
        super().__init__(prompts)
        self.scorer = scorer
        self.reader = CachedSession(scorer, prompts)
        self.writer = CachedSession(scorer.writer, prompts)
        self.written = 0
        self._count_tokens()
        pairs = zip(self.reader.trajectories, self.writer.trajectories, strict=True)
        self._threads = [_Thread(p, *pair) for p, pair in zip(prompts, pairs, strict=True)]
        self._candidates: list[list[_Thread]] = []

    def before_round(self) -> list[str | None]:
        """The rationale of what comes next in each trajectory; each is written once."""
        self._threads = self._reasoned(self._threads)
        self._count_tokens()
        return [thread.rationale for thread in self._threads]

    def context_to_append(self) -> list[str | None]:
        """The rationales between their tags; ``None`` for empty ones."""
        tags = self.scorer.writer.tags
        return [tags.around(text) if text else None for text in self.before_round()]

    def score(
        self, candidates: Sequence[Sequence[Sequence[str]]], keep_cache: bool = True
    ) -> list[list[Tensor]]:
        """Scores of the new steps of each candidate; see ``Session.score``.

        Raises:
            ValueError: a blank step, or a score that is not finite.
        """
        groups = [to_steps(group, self.scorer.splitter) for group in candidates]
        places = [(i, j) for i, group in enumerate(groups) for j in range(len(group))]
        self.before_round()
        threads = {place: self._threads[place[0]] for place in places}
        scores: dict[tuple[int, int], list[Tensor]] = {place: [] for place in places}
        for depth in range(max((len(groups[i][j]) for i, j in places), default=0)):
            active = [(i, j) for i, j in places if len(groups[i][j]) > depth]
            # A first step goes on from what its siblings go on from, and is read behind it.
            if depth:
                again = self._reasoned([threads[place] for place in active])
                threads |= zip(active, again, strict=True)
            steps = [(threads[i, j], groups[i][j][depth]) for i, j in active]
            last = all(len(groups[i][j]) == depth + 1 for i, j in active)
            for place, (score, thread) in zip(
                active, self._judged(steps, keep_cache or not last), strict=True
            ):
                scores[place].append(score)
                threads[place] = thread
        self._count_tokens()
        fresh = {place: torch.cat(x) if x else torch.zeros(0) for place, x in scores.items()}
        check_finite(list(fresh.values()), [f"candidate {j} of trajectory {i}" for i, j in fresh])
        self._candidates = [
            [threads[i, j] for j in range(len(group))] for i, group in enumerate(groups)
        ]
        return [[fresh[i, j] for j in range(len(group))] for i, group in enumerate(groups)]

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Continue with the chosen ``(trajectory, candidate)`` pairs of the last ``score``."""
        self._threads = [self._candidates[i][j] for i, j in choice]
        self.prompts = [thread.prompt for thread in self._threads]
        self._candidates = []

    def _count_tokens(self) -> None:
        """Set ``tokens_read``: tokens that either model has read, and those written."""
        self.tokens_read = self.reader.tokens_read + self.writer.tokens_read + self.written

    def _reasoned(self, threads: Sequence[_Thread]) -> list[_Thread]:
        """The same with rationales, the new ones written and read."""
        bare = [thread for thread in threads if thread.rationale is None]
        if not bare:
            return list(threads)
        # What has been kept since the last rationale is read by the writer only now.
        known = [len(thread.asked.steps) for thread in bare]
        new = [
            without_rationales(thread.read.steps)[k:] for thread, k in zip(bare, known, strict=True)
        ]
        asked = _go_on(self.writer, bare, [thread.asked for thread in bare], new)
        rationales, count = self.scorer.writer.write(asked)
        self.written += count
        told = [[Rationale(text)] for text in rationales]
        reads = _go_on(self.reader, bare, [thread.read for thread in bare], told)
        fresh = (
            thread._replace(read=read, asked=x, rationale=text)
            for thread, read, x, text in zip(bare, reads, asked, rationales, strict=True)
        )
        return [thread if thread.rationale is not None else next(fresh) for thread in threads]

    def _judged(
        self, steps: Sequence[tuple[_Thread, str]], keep_cache: bool
    ) -> list[tuple[Tensor, _Thread]]:
        """Of each step behind its trajectory, the score (1,) and the trajectory with it."""
        threads, pasts = [thread for thread, _ in steps], [thread.read for thread, _ in steps]
        reads = _go_on(self.reader, threads, pasts, [[step] for _, step in steps], keep_cache)
        scores = [read.scores for read in reads]
        if self.scorer.subtract:
            plain = [[Rationale(""), step] for _, step in steps]
            without = _go_on(self.reader, threads, pasts, plain, keep_cache=False)
            scores = [x - read.scores for x, read in zip(scores, without, strict=True)]
        after = (
            thread._replace(read=read, rationale=None)
            for thread, read in zip(threads, reads, strict=True)
        )
        return list(zip(scores, after, strict=True))


def _go_on(
    session: CachedSession,
    threads: Sequence[_Thread],
    pasts: Sequence[Read],
    new: Sequence[Sequence[str]],
    keep_cache: bool = True,
) -> list[Read]:
    """Read new steps behind trajectories of the caller's choice."""
    session.prompts = [thread.prompt for thread in threads]
    session.trajectories = list(pasts)
    return session.read_behind(list(enumerate(new)), keep_cache)
