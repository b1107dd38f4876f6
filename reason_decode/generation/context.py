"""Branches of prompts, and ids that the model reads without having generated them.

A search that only samples needs none of this: ``Generation.prefill`` gives it the prompts as a
batch. Rationales that the generator reads, and steps of solutions that exist already, are context.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from reason_decode.core.solutions import Cost
from reason_decode.generation.cache import RowCache, build_row_batch, take_row
from reason_decode.generation.sampling import Branch, DecodeBatch

if TYPE_CHECKING:  # its methods of these names call these functions
    from reason_decode.generation.engine import LocalGeneration

__all__ = ["append_context", "as_branches"]


def as_branches(generation: "LocalGeneration", prompts: DecodeBatch) -> list[Branch]:
    """The prompts as branches without new tokens.

    Args:
        generation: the call of ``generate``.
        prompts: the batch that ``generation.prefill(croppable=True)`` returned.
    """
    pairs = zip(prompts.rows, prompts.remaining_tokens, strict=True)
    if not prompts.is_read:
        return [
            Branch(row.answer, False, False, remaining, row, generation.prompt_ids[k])
            for k, (row, remaining) in enumerate(pairs)
        ]
    ids = [generation.unpadded_prompt(k) for k in range(len(prompts.rows))]
    (cache,) = (x for x in prompts.model_kwargs.values() if isinstance(x, Cache))
    positions, width = prompts.model_kwargs.get("position_ids"), prompts.ids.shape[1]
    return [
        Branch(
            row.answer,
            False,
            False,
            remaining,
            row,
            ids[k],
            take_row(cache, k, width - len(ids[k]), -1),
            # After prefill, position_ids already hold the position of the next token.
            None if positions is None else positions[..., k, -1] - 1,
        )
        for k, (row, remaining) in enumerate(pairs)
    ]


def append_context(
    generation: "LocalGeneration", branches: Sequence[Branch], contexts: Sequence[Tensor]
) -> list[Branch]:
    """Append ids that the model reads but did not generate; they are no part of its answer.

    Args:
        generation: the call of ``generate``.
        branches: branchable branches.
        contexts: ids (t,) int64 to append to each, possibly none.
    """
    extended = [
        branch if branch.ids is None else replace(branch, ids=torch.cat([branch.ids, ids]))
        for branch, ids in zip(branches, contexts, strict=True)
    ]
    # The last id of a branch is not in its cache, for ``resume`` reads it. So a context of k
    # ids takes k reads as well: the id before it and all but the last of its own.
    unread: dict[int, Tensor] = {}
    caches: list[RowCache] = []
    for k, (branch, ids) in enumerate(zip(branches, contexts, strict=True)):
        if len(ids) and branch.ids is not None and branch.cache is not None:
            unread[k] = torch.cat([branch.ids[-1:], ids[:-1]])
            caches.append(branch.cache)
    if not unread:
        return extended
    positions = [x for k in unread if (x := branches[k].position) is not None]
    batch = build_row_batch(
        generation.model.config,
        caches,
        list(unread.values()),
        torch.stack(positions, dim=-1) if positions else None,
    )
    generation.model.base_model(**batch.inputs)
    generation.cost += Cost(prefill=sum(len(ids) for ids in unread.values()))
    for row, (k, span) in enumerate(zip(unread, batch.spans, strict=True)):
        position = extended[k].position
        extended[k] = replace(
            extended[k],
            cache=take_row(batch.cache, row, span.start, span.stop),
            position=None if position is None else position + len(contexts[k]),
        )
    return extended
