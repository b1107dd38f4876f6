"""Prompts continued by a server; what strategies choose from may be sampled there."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from reason_decode.core.errors import ItemError
from reason_decode.core.records import Candidate, Cost
from reason_decode.core.steps import StepSplitter
from reason_decode.evaluation.complete import Completer, Completions
from reason_decode.io.openai_client import Completion, RequestFailed, TextEndpoint
from reason_decode.strategies.base import Pool

__all__ = ["served"]


def served(endpoint: TextEndpoint, strategy: Any = None, *, n: int = 1, seed: int = 0) -> Completer:
    """A ``Completer`` by a server: n continuations of each prompt, of which a strategy picks here.

    Each is a request of its own, with a seed from ``seed``, the prompt's number and its place among
    the n, so that it does not depend on what else is asked. What the server does not count costs 0.

    Args:
        endpoint: of the server.
        strategy: has ``pick``: ``BestOfN`` or ``SelfConsistency``; ``None``: n is 1, and the one
            is taken.
        n: continuations a prompt.
        seed: see above.

    Raises:
        ValueError: the strategy cannot pick among whole continuations.
        ConnectionError: when called: the server is down, or refuses.
        ItemError: when called: the server cannot continue one of the prompts.
    """
    if strategy is not None and not hasattr(strategy, "pick"):
        raise ValueError(
            f"{type(strategy).__name__} goes step by step, which needs the model in this process; "
            "a server samples for best-of-n and self-consistency"
        )

    scorer = getattr(strategy, "scorer", None) or getattr(strategy, "weigh", None)

    def solve(prompts: Sequence[str], numbers: Sequence[int]) -> Completions:
        session = None if scorer is None else scorer.start_session(prompts)
        asked = [
            (prompt, _seed(seed, number, k))
            for prompt, number in zip(prompts, numbers, strict=True)
            for k in range(n)
        ]
        found = [_checked(answer) for answer in endpoint(asked)]
        sampled = sum(x.completion_tokens for x in found)
        decoded = max(sampled - len(found), 0)
        cost = Cost(sum(x.prompt_tokens for x in found), decoded, sampled)
        if strategy is None:
            return Completions([x.text for x in found], None, cost)
        splitter = StepSplitter() if scorer is None else scorer.splitter
        candidates = [
            Candidate(
                x.text,
                tuple(splitter.split(x.text)),
                finished=x.finished,
                tokens=x.completion_tokens,
            )
            for x in found
        ]
        groups = [candidates[at : at + n] for at in range(0, len(candidates), n)]
        traces, read = strategy.pick(Pool(list(prompts), [], groups), session)
        texts = [trace.best.text for trace in traces]
        return Completions(texts, tuple(traces), cost + Cost(scorer=read))

    return solve


def _checked(answer: Completion | RequestFailed) -> Completion:
    if isinstance(answer, Completion):
        return answer
    if answer.retryable:
        raise ConnectionError(
            f"{answer.reason}; what is done is kept: give the same command again when the server "
            "is up"
        )
    raise ItemError(answer.reason)


def _seed(*parts: int) -> int:
    """31 bits, which every server takes."""
    return int.from_bytes(sha256(repr(parts).encode()).digest()[:4], "big") >> 1
