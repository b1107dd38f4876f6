"""Completes prompts by a server; a selector may choose among several completions of each."""

from collections.abc import Sequence

from reason_decode.core.errors import ItemError
from reason_decode.core.hashing import stable_hash
from reason_decode.core.solutions import Cost
from reason_decode.evaluation.complete import Completer, Completions
from reason_decode.io.openai_client import Completion, CompletionEndpoint, RequestFailed
from reason_decode.strategies.selection import Selector

__all__ = ["endpoint_completer"]


def endpoint_completer(
    endpoint: CompletionEndpoint, selector: Selector | None = None, *, n: int = 1, seed: int = 0
) -> Completer:
    """A ``Completer`` that samples n completions of each prompt at a server and chooses one here.

    Each completion is a request of its own. Its random seed depends on ``seed``, the prompt's
    number and the completion's index only, so it does not change with the batch. Tokens that the
    server does not report count as 0.

    Args:
        endpoint: the server's completions endpoint.
        selector: chooses among the completions of a prompt; ``None``: the first is taken.
        n: completions per prompt; 1 without a selector.
        seed: random seed of the run.

    Raises:
        ValueError: several completions and nothing to choose among them.
        ConnectionError: when called: the server is down, or refuses.
        ItemError: when called: the server cannot complete one of the prompts.
    """
    if selector is None and n != 1:
        raise ValueError(f"got n={n} without a selector to choose among them; pass one, or n=1")

    def solve(prompts: Sequence[str], numbers: Sequence[int]) -> Completions:
        # Started before any request: a prompt that the scorer cannot read costs no completions.
        session = None if selector is None else selector.start_session(prompts)
        requests = [
            (prompt, _request_seed(seed, number, k))
            for prompt, number in zip(prompts, numbers, strict=True)
            for k in range(n)
        ]
        completions = [_checked(answer) for answer in endpoint(requests)]
        sampled = sum(x.completion_tokens for x in completions)
        # The last token of a completion is sampled, but not fed back.
        decoded = max(sampled - len(completions), 0)
        cost = Cost(sum(x.prompt_tokens for x in completions), decoded, sampled)
        if selector is None:
            return Completions([x.text for x in completions], None, cost)
        candidates = [
            selector.candidate(x.text, finished=x.finished, tokens=x.completion_tokens)
            for x in completions
        ]
        groups = [candidates[start : start + n] for start in range(0, len(candidates), n)]
        traces, tokens_read = selector.select(prompts, groups, session=session)
        texts = [trace.best.text for trace in traces]
        return Completions(texts, tuple(traces), cost + Cost(scorer=tokens_read))

    return solve


def _checked(answer: Completion | RequestFailed) -> Completion:
    """The completion, or the failure as an exception."""
    if isinstance(answer, Completion):
        return answer
    if answer.retryable:
        raise ConnectionError(
            f"{answer.reason}; finished items are kept: give the same command again when the "
            "server is up"
        )
    raise ItemError(answer.reason)


def _request_seed(*parts: int) -> int:
    """A seed of 31 bits, which every server accepts."""
    return stable_hash(repr(parts)) >> 33
