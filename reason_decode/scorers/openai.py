"""A chat model at a server as a verifier: it is asked of each step whether it is correct."""

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reason_decode.core.errors import ScoringError
from reason_decode.core.solutions import check_pairs, to_steps
from reason_decode.core.splitting import Splitting, as_splitter
from reason_decode.io.openai_client import ChatEndpoint, Messages, RequestFailed, token_count
from reason_decode.scorers.base import Candidates, Scorer, ScoreSpace, Session
from reason_decode.scorers.prm_formats.chat import chat_with_verdicts
from reason_decode.scorers.prm_formats.generative import QUESTION, step_questions

__all__ = ["EndpointVerifier", "Verdict"]

_VERDICT_WORD = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
# Options of a request that some servers refuse.
_LOGPROB_OPTIONS = {"logprobs": True, "top_logprobs": 20}


class Verdict(NamedTuple):
    """A server's verdict on a step.

    Attributes:
        prob_correct: ``P(yes) / (P(yes) + P(no))``.
        tokens_read: tokens of the chat; 0 if the server does not report them.
    """

    prob_correct: float
    tokens_read: int


class _VerdictEndpoint(ChatEndpoint):
    def _parse_answer(self, response: Any) -> Any:  # a Verdict in place of the chat's text
        try:
            choice, usage = response["choices"][0], response.get("usage") or {}
            tokens_read = token_count(usage.get("prompt_tokens"))
            try:
                prob_correct = _prob_yes(choice.get("logprobs"))
            except ValueError as failure:
                return RequestFailed(f"no verdict: {failure}")
            if prob_correct is None:
                text = choice["message"]["content"] or ""
                word = _VERDICT_WORD.match(text)
                if word is None:
                    return RequestFailed(f"no verdict: neither yes nor no but {text[:80]!r}")
                prob_correct = float(word[1].lower() == "yes")
        except (AttributeError, IndexError, KeyError, TypeError):
            raise ValueError(f"no chat completion: {str(response)[:200]}") from None
        return Verdict(prob_correct, tokens_read)


class EndpointVerifier(Scorer):
    """Scores a step by ``P(yes) / (P(yes) + P(no))`` of a chat model at a server.

    The chat is that of ``ProcessRewardModel``'s format "generative": each step is a user's message,
    the problem before the first, and the steps before were answered Yes. If the server returns no
    log-probabilities, the score is 1 or 0 by the answer's first word, with a warning. Equal chats
    of one call are asked once.

    Args:
        base_url: such as ``http://localhost:8000/v1``.
        model: the model's name at the server.
        splitter: where a solution's text is split into steps: a ``StepSplitter``, a text, or
            several.
        question: ends the message of a step.
        extra_body: fields to add to every request.
        max_tokens: length of an answer.
        endpoint: the other arguments of ``ChatEndpoint``, such as ``concurrency``.

    Raises:
        ValueError: an address that is not http or https, or a number that must be positive.

    Source: GenRM (Zhang et al. 2024, 2408.15240), whose direct verifier is asked so of whole
    solutions.

    Examples:
        >>> from reason_decode import BestOfN, tiny
        >>> from reason_decode.scorers import EndpointVerifier
        >>> verifier = EndpointVerifier("http://localhost:8000/v1", "Qwen/Qwen3-8B", concurrency=32)
        >>> strategy = BestOfN(verifier, tokenizer=tiny.load().tokenizer, n=8)
    """

    score_space: ScoreSpace = "probability"

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        splitter: Splitting = "\n",
        question: str = QUESTION,
        extra_body: Mapping[str, Any] | None = None,
        max_tokens: int = 1,
        **endpoint: Any,
    ) -> None:
        self.endpoint = _VerdictEndpoint(
            base_url,
            model,
            extra_body={**_LOGPROB_OPTIONS, **(extra_body or {})},
            max_tokens=max_tokens,
            **endpoint,
        )
        self.splitter, self.question = as_splitter(splitter), question

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Scores of each solution, float32 (s,), one a step.

        Raises:
            ScoringError: the server answers neither yes nor no, or cannot read one of the chats.
            ConnectionError: the server is down, or refuses.
        """
        check_pairs(prompts, solutions)
        steps = to_steps(solutions, self.splitter)
        return [scores for (scores,) in self.start_session(prompts).score([[x] for x in steps])]

    def start_session(self, prompts: Sequence[str]) -> Session:
        """A session that asks only about new steps."""
        return _EndpointSession(self, prompts)

    def verdicts(self, chats: Sequence[Messages]) -> list[Verdict]:
        """The server's verdicts on the last step of each chat.

        Raises:
            ScoringError: the server answers neither yes nor no, or cannot read one of the chats.
            ConnectionError: the server is down, or refuses.
        """
        answers = list(self.endpoint(chats))
        if any(map(_is_refused, answers)) and self.endpoint.body.keys() & _LOGPROB_OPTIONS:
            warnings.warn(
                f"{self.endpoint.url} returns no log-probabilities: steps are scored 1 or 0, by "
                "the first word of the answer",
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
        return chat_with_verdicts(step_questions(prompt, steps, self.question), "Yes")


class _EndpointSession(Session):
    """A session that holds each trajectory's steps; the server counts ``tokens_read``."""

    def __init__(self, verifier: EndpointVerifier, prompts: Sequence[str]) -> None:
        super().__init__(prompts)
        self.verifier = verifier
        self.steps: list[list[str]] = [[] for _ in self.prompts]
        self._candidates: list[list[list[str]]] = []

    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        new = [to_steps(group, self.verifier.splitter) for group in candidates]
        self._candidates = new if keep_cache else []
        # One chat for each new step, named by the prompt and all steps up to it.
        asked = [
            [[(prompt, *before, *steps[: k + 1]) for k in range(len(steps))] for steps in group]
            for prompt, before, group in zip(self.prompts, self.steps, new, strict=True)
        ]
        chats = {
            key: self.verifier.chat(key[0], key[1:])
            for group in asked
            for keys in group
            for key in keys
        }
        verdicts = dict(zip(chats, self.verifier.verdicts([*chats.values()]), strict=True))
        self.tokens_read += sum(verdict.tokens_read for verdict in verdicts.values())
        return [
            [
                torch.tensor([verdicts[key].prob_correct for key in keys], dtype=torch.float32)
                for keys in group
            ]
            for group in asked
        ]

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        self.steps = [[*self.steps[i], *self._candidates[i][j]] for i, j in choice]
        self.prompts = [self.prompts[i] for i, _ in choice]
        self._candidates = []


def _prob_yes(logprobs: Any) -> float | None:
    """``P(yes) / (P(yes) + P(no))`` of an answer's first token; ``None`` if it is not reported.

    Raises:
        ValueError: the server reports a number that is no log-probability.
    """
    content = (logprobs or {}).get("content")
    if not content:
        return None
    total = {"yes": 0.0, "no": 0.0}
    for one in content[0].get("top_logprobs") or [content[0]]:
        word = one["token"].strip().lower()
        if word in total:
            logp = one["logprob"]
            # Rounding can make the logarithm of a certain token slightly positive.
            if not isinstance(logp, int | float) or not logp <= 0.01:
                raise ValueError(f"the server answers {word!r} with the log-probability {logp!r}")
            total[word] += math.exp(logp)
    both = sum(total.values())
    return total["yes"] / both if both else None


def _is_refused(answer: Verdict | RequestFailed) -> bool:
    return isinstance(answer, RequestFailed) and answer.reason.startswith(("HTTP 400", "HTTP 422"))
