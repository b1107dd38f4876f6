"""Completes prompts by a server; a selector may choose among several completions of each."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from transformers import PreTrainedTokenizerBase

from reason_decode.core.errors import ItemError
from reason_decode.core.hashing import stable_hash
from reason_decode.core.messages import Prompt, last_question
from reason_decode.core.solutions import Cost
from reason_decode.core.thinking import THINK, ThinkingTags, opens_thought
from reason_decode.evaluation.complete import Completions
from reason_decode.io.openai_client import Completion, CompletionEndpoint, RequestFailed
from reason_decode.models.chat_template import render_chat
from reason_decode.strategies.selection import Selector

__all__ = ["EndpointCompleter"]


@dataclass(frozen=True)
class EndpointCompleter:
    """A ``Completer`` that samples n completions of each prompt at a server and chooses one here.

    Each completion is a request of its own. Its random seed depends on ``seed``, the prompt's
    number and the completion's index only, so it does not change with the batch. Tokens that the
    server does not report count as 0.

    Args:
        endpoint: the server's completions endpoint.
        selector: chooses among the completions of a prompt; ``None``: the first is taken.
        n: completions per prompt; 1 without a selector.
        seed: random seed of the run.
        tokenizer: the tokenizer of the server's model, whose chat template renders conversations;
            ``None``: prompts are texts.
        chat_template_kwargs: further arguments of the chat template.
        thinking_tags: the texts before and after a thought.

    Raises:
        ValueError: several completions and nothing to choose among them.
        ConnectionError: when called: the server is down, or refuses.
        ItemError: when called: the server cannot complete one of the prompts.
    """

    endpoint: CompletionEndpoint
    selector: Selector | None = None
    _: KW_ONLY
    n: int = 1
    seed: int = 0
    tokenizer: PreTrainedTokenizerBase | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    thinking_tags: ThinkingTags = THINK

    def __post_init__(self) -> None:
        if self.selector is None and self.n != 1:
            raise ValueError(
                f"got n={self.n} without a selector to choose among them; pass one, or n=1"
            )

    @property
    def chat(self) -> bool:
        """True if prompts are to be conversations."""
        return self.tokenizer is not None

    def __call__(
        self, prompts: Sequence[Prompt], ids: Sequence[int], questions: Sequence[str] | None = None
    ) -> Completions:
        """The completions of prompts; see ``Completer``."""
        asked = [last_question(prompt) for prompt in prompts] if questions is None else questions
        texts = [self._rendered(prompt) for prompt in prompts]
        tags = self.thinking_tags
        in_thought = tuple(opens_thought(text, tags) for text in texts)
        selector = self.selector
        # Started before any request: a prompt that the scorer cannot read costs no completions.
        session = None if selector is None else selector.start_session(asked)
        requests = [
            (text, _request_seed(self.seed, number, k))
            for text, number in zip(texts, ids, strict=True)
            for k in range(self.n)
        ]
        completions = [_checked(answer) for answer in self.endpoint(requests)]
        sampled = sum(x.completion_tokens for x in completions)
        # The last token of a completion is sampled, but not fed back.
        decoded = max(sampled - len(completions), 0)
        cost = Cost(sum(x.prompt_tokens for x in completions), decoded, sampled)
        if selector is None:
            return Completions([x.text for x in completions], None, cost, tags, in_thought)
        candidates = [
            selector.candidate(
                x.text,
                finished=x.finished,
                tokens=x.completion_tokens,
                in_thought=in_thought[k // self.n],
            )
            for k, x in enumerate(completions)
        ]
        starts = range(0, len(candidates), self.n)
        groups = [candidates[start : start + self.n] for start in starts]
        traces, tokens_read = selector.select(asked, groups, session=session)
        chosen = [trace.best.text for trace in traces]
        cost += Cost(scorer=tokens_read)
        return Completions(chosen, tuple(traces), cost, tags, in_thought)

    def _rendered(self, prompt: Prompt) -> str:
        if isinstance(prompt, str):
            return prompt
        if self.tokenizer is None:
            raise ItemError(
                "got a conversation for a server, to which prompts are sent as text; name the "
                "tokenizer of its model (--tokenizer), whose chat template renders it"
            )
        text = render_chat(self.tokenizer, prompt, **self.chat_template_kwargs)
        # The server's tokenizer puts a bos there, too.
        return text.removeprefix(str(self.tokenizer.bos_token or ""))


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
