"""The operations of a strategy by requests to a server; see ``generation.interface``.

A branch is the token ids that the server is to continue. The step boundary of a search becomes
stop strings or a number of tokens (``Boundary.pause``). Where no stop string says it, or where the
server does not say which one it met, the completion is streamed and the connection closed behind
the boundary; tokens that come behind it all the same are thrown away, and counted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import LongTensor, Tensor
from transformers.generation.streamers import BaseStreamer

from reason_decode.core.hashing import stable_hash
from reason_decode.core.messages import Messages
from reason_decode.core.solutions import Cost
from reason_decode.core.splitting import Boundary
from reason_decode.generation.row_state import Row
from reason_decode.generation.sampling import Branch
from reason_decode.generation.streaming import AnswerStream
from reason_decode.io.completions import Completion, CompletionRequest
from reason_decode.models.inputs import pad_rows
from reason_decode.serving.draft import Draft
from reason_decode.serving.requests import Transport
from reason_decode.serving.servers import Server
from reason_decode.serving.text_ids import TextIds

__all__ = ["ServedBatch", "ServedGeneration"]


@dataclass
class ServedBatch:
    """Rows that a server is about to continue.

    Attributes:
        branches: what each row goes on from.
        remaining_tokens: how many more tokens each row may get.
    """

    branches: list[Branch]
    remaining_tokens: list[int]

    def select(self, index: Sequence[int]) -> "ServedBatch":
        """A batch of some rows; rows may repeat."""
        return ServedBatch(
            [self.branches[k] for k in index], [self.remaining_tokens[k] for k in index]
        )


class ServedGeneration:
    """A ``Generation`` by a model at a server; see ``interface.Generation``.

    Args:
        strategy_name: the strategy's class name, for error messages.
        model: the ``ServedModel``.
        server: what its servers can do.
        transport: the way of requests, for this call only.
        text_ids: turns texts into token ids and back.
        input_ids: (b, t) int64, padded on the left.
        attention_mask: (b, t), 1 at the ids of the prompts; ``None``: there is no padding.
        max_new_tokens: most new tokens of a sequence.
        num_return_sequences: sequences to return for each prompt.
        do_sample: draw tokens; else take the likeliest.
        options: fields of each request that say how tokens are drawn.
        seeds: send a seed with each request, drawn from torch's random state.
        stop_strings: texts that end an answer.
        streamer: receives the answer's tokens as soon as they are decided.
        check: called while requests are under way; raises where the answer is no longer wanted.
        chats: the conversation of each prompt; ``None``: they are not known.

    Raises:
        ValueError: a server of chats, and no conversations.
    """

    def __init__(
        self,
        strategy_name: str,
        model: Any,
        server: Server,
        transport: Transport,
        text_ids: TextIds,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        max_new_tokens: int,
        num_return_sequences: int = 1,
        do_sample: bool = False,
        options: Mapping[str, Any] | None = None,
        seeds: bool = True,
        stop_strings: Sequence[str] = (),
        streamer: BaseStreamer | None = None,
        check: Callable[[], None] | None = None,
        chats: Sequence[Messages] | None = None,
    ) -> None:
        if server.chats and chats is None:
            raise ValueError(
                f"{strategy_name} got no conversations for a server of chats; call "
                "strategy.chat(model, messages), or pass messages="
            )
        self.strategy_name, self.model, self.server = strategy_name, model, server
        self.transport, self.text_ids, self.check, self.chats = transport, text_ids, check, chats
        self.prompt_ids, self._mask = input_ids, attention_mask
        self.max_new_tokens, self.num_return_sequences = max_new_tokens, num_return_sequences
        self.do_sample, self.options, self.stop_strings = do_sample, options or {}, stop_strings
        self.stream: AnswerStream | None = None
        if streamer is not None:
            rows = len(input_ids) * num_return_sequences
            self.stream = AnswerStream(strategy_name, streamer, rows)
        self.cost, self._keeps_stats, self._requests = Cost(), False, 0
        self._seed = int(torch.randint(2**31 - 1, ())) if seeds and do_sample else None

    @property
    def keep_stats(self) -> bool:
        """True if branches hold statistics of their tokens.

        Raises:
            ValueError: set to true, and the server gives no log-probabilities of token ids.
        """
        return self._keeps_stats

    @keep_stats.setter
    def keep_stats(self, value: bool) -> None:
        if value and not self.server.logps:
            raise ValueError(
                f"{self.strategy_name} got a scorer that reads the generator's logits, which this "
                "server does not give with token ids; use vLLM, a model in this process, or a "
                "scorer of texts"
            )
        self._keeps_stats = value

    def unpadded_prompt(self, row: int) -> Tensor:
        """Token ids of a prompt without padding, (t,) int64."""
        ids = self.prompt_ids[row]
        return ids if self._mask is None else ids[self._mask[row].bool()]

    def prefill(self, branchable: bool = False, croppable: bool = False) -> ServedBatch:
        """The prompts as a batch; nothing is sent before something is sampled.

        Raises:
            ValueError: branches are to be continued, and the server answers chats as a whole.
        """
        if self.server.chats and (branchable or croppable):
            raise ValueError(
                f"{self.strategy_name} continues answers step by step, and {self.transport.name} "
                "answers chats as a whole; use BestOfN or SelfConsistency, or a server that has "
                "/completions"
            )
        prompts = [self.unpadded_prompt(k) for k in range(len(self.prompt_ids))]
        none, most = torch.zeros(0, dtype=torch.long), self.max_new_tokens
        branches = [
            Branch(none, False, False, most, Row(k, none, {}), ids) for k, ids in enumerate(prompts)
        ]
        return ServedBatch(branches, [most] * len(branches))

    def as_branches(self, prompts: ServedBatch) -> list[Branch]:
        """The batch of ``prefill`` as branches without new tokens."""
        return list(prompts.branches)

    def append_context(
        self, branches: Sequence[Branch], contexts: Sequence[Tensor]
    ) -> list[Branch]:
        """The branches with ids (t,) behind each that are read, but are no part of its answer."""
        return [
            branch if branch.ids is None else replace(branch, ids=torch.cat([branch.ids, ids]))
            for branch, ids in zip(branches, contexts, strict=True)
        ]

    def resume(self, branches: Sequence[Branch]) -> ServedBatch:
        """A batch of branches that can be continued."""
        return ServedBatch(list(branches), [branch.remaining_tokens for branch in branches])

    def pack(self, rows: Sequence[tuple[int, Tensor]]) -> LongTensor:
        """Prompts with continuations, padded on the right; see ``interface.Generation.pack``."""
        padding = self.text_ids.pad_token_id
        packed, _ = pad_rows([ids for _, ids in rows], side="right", value=padding)
        sequences = torch.cat([self.prompt_ids[[row for row, _ in rows]], packed], dim=1)
        return cast(LongTensor, sequences)

    def sample(
        self,
        batch: ServedBatch,
        n: int,
        boundary: Boundary | None = None,
        branchable: bool = False,
        greedy: bool = False,
    ) -> list[Branch]:
        """Sample n continuations of each row; see ``interface.Generation.sample``.

        Raises:
            ConnectionError: a server is down, or refuses.
            ItemError: a server cannot continue one of the rows.
        """
        rows = zip(batch.branches, batch.remaining_tokens, strict=True)
        groups = [[self._draft(*row, boundary) for _ in range(n)] for row in rows]
        drafts = [draft for group in groups for draft in group]
        while groups:
            if not self.server.takes_n or self._is_streamed(groups[0][0]):
                groups = [[draft] for group in groups for draft in group]
            requests = [self._request(group, greedy) for group in groups]
            answers = self.transport.ask(requests, self.check)
            for group, answer in zip(groups, answers, strict=True):
                self._check_count(group, answer)
                streamed = self._is_streamed(group[0])
                pairs = zip(group, answer.choices, strict=True)
                self._count(group, answer, sum(x.extend(y, streamed) for x, y in pairs))
            # Blank lines end no step: such a row goes on by itself.
            groups = [[draft] for group in groups for draft in group if not draft.is_over]
        return [draft.branch(branchable) for draft in drafts]

    def _draft(self, branch: Branch, remaining: int, boundary: Boundary | None) -> Draft:
        assert branch.row is not None and branch.ids is not None
        most = max(1, remaining)
        return Draft(branch.row, branch.ids, most, boundary, self.stop_strings, self.text_ids)

    def _is_streamed(self, draft: Draft) -> bool:
        pause = draft.pause
        return pause.anywhere or (bool(pause.stops) and not self.server.keeps_stops)

    def _request(self, group: Sequence[Draft], greedy: bool) -> tuple[int, CompletionRequest]:
        """A request for one completion of each draft; the drafts of a group are alike so far."""
        draft, streamed = group[0], self._is_streamed(group[0])
        stops = [*self.stop_strings, *(() if streamed else draft.pause.stops)]
        fields = {**self.server.fields, **self.options, "max_tokens": draft.most_tokens}
        if not self.do_sample or greedy:
            fields["temperature"] = 0.0
        elif self._seed is not None:
            fields["seed"] = stable_hash(repr((self._seed, self._requests))) >> 33
        if len(group) > 1:
            fields["n"] = len(group)
        if stops:
            fields["stop"] = list(dict.fromkeys(stops))
        if self._keeps_stats:
            fields["logprobs"] = self.server.logps
        ids = draft.prompt()
        if self.chats is not None and self.server.chats:
            fields["messages"] = self.chats[draft.row.prompt]
        else:
            fields["prompt"] = ids.tolist() if self.server.takes_ids else self.text_ids.text(ids)
        self._requests += 1
        until = draft.holds_boundary if streamed else None
        return draft.row.prompt, CompletionRequest(fields, until)

    def _check_count(self, group: Sequence[Draft], answer: Completion) -> None:
        if len(answer.choices) != len(group):
            raise ConnectionError(
                f"{self.transport.name} answered {len(answer.choices)} completions for "
                f"n={len(group)}; pass server='openai', which asks for them one by one"
            )

    def _count(self, group: Sequence[Draft], answer: Completion, sampled: int) -> None:
        """Add what the server counted to the cost, or what was counted here."""
        sampled = answer.completion_tokens or sampled
        read = answer.prompt_tokens or len(group[0].ids)
        # The last token of each completion is sampled, but not fed back.
        decoded = max(sampled - len(group), 0)
        self.cost += Cost(max(read - answer.cached_tokens, 0), decoded, sampled)
