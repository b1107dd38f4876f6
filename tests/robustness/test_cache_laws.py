"""Laws of caches: the logits equal those of a forward pass without a cache."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import LlamaForCausalLM

from reason_decode.generation.cache import (
    RowCache,
    build_row_batch,
    crop_row,
    new_cache,
    preallocate_cache,
    row_length,
    take_row,
)
from tests.tolerance import assert_close, roundings

laws = settings(max_examples=25, deadline=None, derandomize=True, database=None)
IDS = st.lists(st.integers(3, 63), min_size=1, max_size=5)


@torch.no_grad()
def uncached_logits(model: Any, ids: list[int]) -> Tensor:
    """Logits after ids that are read in a single forward pass."""
    return model(torch.tensor([ids])).logits[0, -1]


ACTS = st.one_of(
    st.tuples(st.just("read"), st.lists(IDS, min_size=1, max_size=3)),
    st.tuples(st.just("branch"), st.integers(0, 9)),
    st.tuples(st.just("drop"), st.integers(0, 9)),
    st.tuples(st.just("crop"), st.tuples(st.integers(0, 9), st.integers(1, 9))),
)


@pytest.mark.numeric
@laws
@given(first=st.lists(IDS, min_size=1, max_size=3), acts=st.lists(ACTS, min_size=1, max_size=6))
@torch.no_grad()
def test_branched_and_cropped_rows_give_the_logits_of_one_pass(
    tiny_llama: LlamaForCausalLM, first: list[list[int]], acts: list[Any]
):
    rows: list[tuple[list[int], RowCache]] = []

    def read(places: list[int], new: list[list[int]]) -> None:
        tensors = [torch.tensor(ids) for ids in new]
        pasts = [rows[k][1] for k in places]
        batch = build_row_batch(tiny_llama.config, pasts, tensors)
        out = tiny_llama(**batch.inputs)
        before = [rows[k][0] for k in places] or [[] for _ in new]
        for j, ids in enumerate(new):
            held = take_row(batch.cache, j, batch.spans[j].start, batch.spans[j].stop)
            whole = before[j] + ids
            found, expected = out.logits[j, len(ids) - 1], uncached_logits(tiny_llama, whole)
            assert_close(found, expected, terms=roundings(tiny_llama))
            if places:
                rows[places[j]] = (whole, held)
            else:
                rows.append((whole, held))

    read([], first)
    for act, how in acts:
        if act == "read":
            places = [k % len(rows) for k in range(min(len(how), len(rows)))]
            read(places, how[: len(places)])
        elif act == "branch":
            rows.append(rows[how % len(rows)])
        elif act == "drop" and len(rows) > 1:
            del rows[how % len(rows)]
        elif act == "crop":
            k, end = how[0] % len(rows), how[1]
            ids, cache = rows[k]
            rows[k] = (ids[:end], crop_row(cache, min(end, len(ids))))
    assert all(row_length(cache) == len(ids) for ids, cache in rows)


STEPS = st.one_of(
    st.tuples(st.just("grow"), st.integers(3, 63)),
    st.tuples(st.just("pick"), st.lists(st.integers(0, 9), min_size=1, max_size=4)),
    st.tuples(st.just("repeat"), st.integers(1, 2)),
    st.tuples(st.just("crop"), st.integers(1, 3)),
)


@pytest.mark.numeric
@laws
@given(prompt=IDS, steps=st.lists(STEPS, min_size=1, max_size=8))
@torch.no_grad()
def test_preallocated_caches_give_the_logits_of_one_pass(
    tiny_llama: LlamaForCausalLM, prompt: list[int], steps: list[Any]
):
    cache = new_cache(tiny_llama.config)
    ids = torch.tensor([prompt])
    tiny_llama(ids, past_key_values=cache)
    for act, how in steps:
        preallocate_cache(cache)
        if act == "grow":
            column = (how + torch.arange(len(ids))).clamp(max=63)[:, None]
            ids = torch.cat([ids, column], dim=1)
            said = tiny_llama(column, past_key_values=cache).logits[:, -1]
            assert_close(said, tiny_llama(ids).logits[:, -1], terms=roundings(tiny_llama))
        elif act == "pick":
            index = torch.tensor([k % len(ids) for k in how])
            cache.batch_select_indices(index)
            ids = ids[index]
        elif act == "repeat" and len(ids) * how <= 8:
            cache.batch_repeat_interleave(how)
            ids = ids.repeat_interleave(how, dim=0)
        elif act == "crop" and ids.shape[1] > how:
            cache.crop(-how)
            ids = ids[:, :-how]
    held = deepcopy(cache)
    last = ids[:, -1:]
    said = tiny_llama(last, past_key_values=held).logits[:, -1]
    again = tiny_llama(torch.cat([ids, last], dim=1)).logits[:, -1]
    assert_close(said, again, terms=roundings(tiny_llama))
