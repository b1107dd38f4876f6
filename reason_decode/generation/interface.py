"""The operations that strategies are made of, whatever samples: a model here, or one at a server.

A strategy is written against ``Generation``. ``engine.LocalGeneration`` samples from a model in
this process, ``serving.ServedGeneration`` from one behind an OpenAI-compatible server.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import LongTensor, Tensor

from reason_decode.core.solutions import Cost
from reason_decode.core.splitting import Boundary
from reason_decode.generation.sampling import Branch
from reason_decode.generation.streaming import AnswerStream

__all__ = ["Batch", "Generation", "Generator"]


class Batch(Protocol):
    """Rows that are about to be sampled from.

    Attributes:
        remaining_tokens: how many more tokens each row may get; strategies lower it.
    """

    remaining_tokens: list[int]

    def select(self, index: Sequence[int]) -> Any:
        """A batch of copies of some rows; rows may repeat."""
        ...


class Generation(Protocol):
    """One call of ``generate`` as the operations that a strategy needs.

    Attributes:
        strategy_name: the strategy's class name, for error messages.
        model: the generator, which a scorer may compare with its own.
        prompt_ids: token ids of the prompts, (b, t) int64, padded on the left.
        num_return_sequences: sequences to return for each prompt.
        max_new_tokens: most new tokens of a sequence.
        stream: receives the answer's tokens as soon as they are decided; ``None``: nobody does.
        cost: tokens that were read and sampled so far.
    """

    strategy_name: str
    model: Any
    prompt_ids: Tensor
    num_return_sequences: int
    max_new_tokens: int
    stream: AnswerStream | None
    cost: Cost

    @property
    def do_sample(self) -> bool:
        """True if tokens are drawn; false: the likeliest one is taken."""
        ...

    @property
    def keep_stats(self) -> bool:
        """True if branches hold statistics of their tokens; strategies set it.

        Raises:
            ValueError: set to true, and there are none.
        """
        ...

    @keep_stats.setter
    def keep_stats(self, value: bool) -> None: ...

    def unpadded_prompt(self, row: int) -> Tensor:
        """Token ids of a prompt without padding, (t,) int64."""
        ...

    def prefill(self, branchable: bool = False, croppable: bool = False) -> Batch:
        """The prompts as a batch.

        Args:
            branchable: branches that can be continued will be asked for.
            croppable: ``as_branches`` will be called.

        Raises:
            ValueError: they cannot be branched.
        """
        ...

    def sample(
        self,
        batch: Any,
        n: int,
        boundary: Boundary | None = None,
        branchable: bool = False,
        greedy: bool = False,
    ) -> list[Branch]:
        """Sample n continuations of each row.

        Args:
            batch: a batch of this generation; used up, unless it is that of ``prefill``.
            n: continuations a row.
            boundary: says where a continuation pauses; ``None``: nowhere.
            branchable: keep what is needed to continue each branch.
            greedy: take the likeliest token even if ``do_sample`` is true.

        Returns:
            ``n`` branches of the first row, then those of the next, and so on.
        """
        ...

    def resume(self, branches: Sequence[Branch]) -> Batch:
        """A batch of branchable branches, ready to be sampled from."""
        ...

    def as_branches(self, prompts: Any) -> list[Branch]:
        """The batch of ``prefill(croppable=True)`` as branches without new tokens."""
        ...

    def append_context(
        self, branches: Sequence[Branch], contexts: Sequence[Tensor]
    ) -> list[Branch]:
        """The branches with ids (t,) behind each that are read, but are no part of its answer."""
        ...

    def pack(self, rows: Sequence[tuple[int, Tensor]]) -> LongTensor:
        """Prompts with continuations, padded on the right.

        Args:
            rows: (prompt index, new ids (t,)) of each row to return.

        Returns:
            (len(rows), t) int64, each row beginning with its prompt as it was passed in.
        """
        ...


class Generator(Protocol):
    """A model that strategies can be passed to: one of transformers, or a ``ServedModel``.

    Attributes:
        generation_config: the options of ``generate`` that are not given in a call.
    """

    generation_config: Any

    @property
    def device(self) -> torch.device:
        """The device of input ids."""
        ...

    # A method of this name, whatever its arguments: transformers' stubs do not type it.
    generate: Any
