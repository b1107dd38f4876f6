"""A chat model at a server as a verifier: it is asked of each step whether it is right."""

import math
import re
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reason_decode.core.errors import ScoringError
from reason_decode.core.steps import StepSplitter
from reason_decode.io.openai_client import Endpoint, Messages, RequestFailed
from reason_decode.scorers.base import Scorer, ScoreSpace, Session
from reason_decode.scorers.checks import check_pairs, to_steps
from reason_decode.scorers.prm_formats import QUESTION, chat_with_verdicts, questions

__all__ = ["EndpointVerifier"]

_WORD = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
# What a server is asked for beside the answer, and that some of them refuse.
_LOGPROB_OPTIONS = {"logprobs": True, "top_logprobs": 20}


class Verdict(NamedTuple):
    """What a server says of a step.

    Attributes:
        right: ``P(yes) / (P(yes) + P(no))``.
        read: tokens of the chat; 0 where the server does not say.
    """

    right: float
    read: int


class _Asked(Endpoint):
    def _parse_answer(self, answer: Any) -> Verdict | RequestFailed:
        try:
            choice, usage = answer["choices"][0], answer.get("usage") or {}
            read = int(usage.get("prompt_tokens") or 0)
            right = _odds(choice.get("logprobs"))
            if right is None:
                said = choice["message"]["content"] or ""
                found = _WORD.match(said)
                if found is None:
                    return RequestFailed(f"no verdict: neither yes nor no but {said[:80]!r}")
                right = float(found[1].lower() == "yes")
        except (AttributeError, IndexError, KeyError, TypeError):
            raise ValueError(f"no chat completion: {str(answer)[:200]}") from None
        return Verdict(right, read)


class EndpointVerifier(Scorer):
    """Scores a step by ``P(yes) / (P(yes) + P(no))``, as a server's chat model answers.

    The chat is that of ``ProcessRewardModel``'s format "generative": each step is a user's turn,
    the problem before the first, and the steps before were answered Yes. A server that tells no
    log-probabilities is taken at its word, 1 or 0, with a warning. Equal chats of one call are
    asked once.

    Args:
        base_url: such as ``http://localhost:8000/v1``.
        model: the name it is served under.
        separator: what ends a step in a solution.
        question: what a step's turn ends with.
        how: ``Endpoint``'s other arguments, such as ``concurrency`` and ``key``.

    Raises:
        ValueError: an address that is not http or https, or a number that must be positive.

    Source: GenRM (Zhang et al. 2024, 2408.15240), whose direct verifier is asked so of whole
    solutions.

    Example:
        >>> from reason_decode import BestOfN, tiny
        >>> from reason_decode.scorers import EndpointVerifier
        >>> judge = EndpointVerifier("http://localhost:8000/v1", "Qwen/Qwen3-8B", concurrency=32)
        >>> strategy = BestOfN(judge, tokenizer=tiny.load().tokenizer, n=8)
    """

    score_space: ScoreSpace = "probability"

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        separator: str = "\n",
        question: str = QUESTION,
        **how: Any,
    ) -> None:
        options = {**_LOGPROB_OPTIONS, **how.pop("options", {})}
        how = {"max_tokens": 1, **how}
        self.endpoint = _Asked(base_url, model, options=options, **how)
        self.splitter, self.question = StepSplitter(separator), question

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Scores of each solution: float32 (s,), one a step.

        Raises:
            ScoringError: the server answers neither yes nor no, or cannot read one of the chats.
            ConnectionError: it is down, or refuses.
        """
        check_pairs(prompts, solutions)
        steps = to_steps(solutions, self.splitter)
        return [scores for (scores,) in self.start_session(prompts).score([[x] for x in steps])]

    def start_session(self, prompts: Sequence[str]) -> Session:
        """A session over trajectories that begin with the prompts."""
        return _ServedSession(self, prompts)

    def verdicts(self, chats: Sequence[Messages]) -> list[Verdict]:
        """What the server says of each chat; raises as ``score`` does."""
        answers = list(self.endpoint(chats))
        if any(map(_refused, answers)) and self.endpoint.body.keys() & _LOGPROB_OPTIONS:
            warnings.warn(
                f"{self.endpoint.url} tells no log-probabilities: steps are scored 1 or 0, by its "
                "word",
                stacklevel=2,
            )
            for name in _LOGPROB_OPTIONS:
                self.endpoint.body.pop(name, None)
            answers = list(self.endpoint(chats))
        for answer in answers:
            if isinstance(answer, RequestFailed) and answer.retryable:
                raise ConnectionError(
                    f"{answer.reason}; give the same command again when the server is up"
                )
            if isinstance(answer, RequestFailed):
                raise ScoringError(f"{self.endpoint.url} did not score a step: {answer.reason}")
        return answers

    def chat(self, prompt: str, steps: Sequence[str]) -> Messages:
        """The chat that asks about the last of the steps."""
        return chat_with_verdicts(questions(prompt, steps, self.question), "Yes")


class _ServedSession(Session):
    """Remembers what each trajectory has said; ``tokens_read`` are those that the server counts."""

    def __init__(self, verifier: EndpointVerifier, prompts: Sequence[str]) -> None:
        super().__init__(prompts)
        self.verifier = verifier
        self.paths: list[tuple[str, list[str]]] = [(prompt, []) for prompt in prompts]
        self.candidates: list[list[list[str]]] = []

    def score(
        self, candidates: Sequence[Sequence[Sequence[str]]], keep_cache: bool = True
    ) -> list[list[Tensor]]:
        asked = [to_steps(group, self.verifier.splitter) for group in candidates]
        if keep_cache:
            self.candidates = asked
        chats = {
            (prompt, *said, *steps[: k + 1]): self.verifier.chat(prompt, [*said, *steps[: k + 1]])
            for (prompt, said), group in zip(self.paths, asked, strict=True)
            for steps in group
            for k in range(len(steps))
        }
        verdicts = dict(zip(chats, self.verifier.verdicts([*chats.values()]), strict=True))
        self.tokens_read += sum(verdict.read for verdict in verdicts.values())
        return [
            [
                torch.tensor(
                    [verdicts[prompt, *said, *steps[: k + 1]].right for k in range(len(steps))],
                    dtype=torch.float32,
                )
                for steps in group
            ]
            for (prompt, said), group in zip(self.paths, asked, strict=True)
        ]

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        self.paths = [
            (self.paths[i][0], [*self.paths[i][1], *self.candidates[i][j]]) for i, j in choice
        ]
        self.prompts = [prompt for prompt, _ in self.paths]


def _odds(logprobs: Any) -> float | None:
    """``P(yes) / (P(yes) + P(no))`` of an answer's first token; ``None`` where nobody tells."""
    content = (logprobs or {}).get("content")
    if not content:
        return None
    total = {"yes": 0.0, "no": 0.0}
    for one in content[0].get("top_logprobs") or [content[0]]:
        word = one["token"].strip().lower()
        if word in total:
            total[word] += math.exp(one["logprob"])
    said = sum(total.values())
    return total["yes"] / said if said else None


def _refused(answer: Verdict | RequestFailed) -> bool:
    return isinstance(answer, RequestFailed) and answer.reason.startswith(("HTTP 400", "HTTP 422"))
