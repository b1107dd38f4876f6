import pytest
import torch
from transformers import LlamaForCausalLM, StaticCache
from transformers.cache_utils import DynamicCache

from reason_decode.generation.cache import (
    check_branchable,
    new_cache,
    preallocate_cache,
    retain_sliding_window_history,
    row_length,
    stack_rows,
    take_row,
)
from tests.tolerance import assert_close, roundings


@pytest.mark.numeric
def test_stacked_rows_give_the_logits_of_a_full_pass(tiny_llama: LlamaForCausalLM) -> None:
    """Three rows of unequal length, taken out of their caches and stacked with padding."""
    rows = [torch.randint(3, 64, (length,)) for length in (4, 9, 6)]
    caches = []
    for ids in rows:
        cache = DynamicCache(config=tiny_llama.config)
        tiny_llama(ids[None, :-1], past_key_values=cache)
        caches.append(take_row(cache, 0, 0))
    assert [row_length(row) for row in caches] == [3, 8, 5]
    lengths = torch.tensor([3, 8, 5])
    mask = torch.arange(9) >= 8 - torch.cat([lengths])[:, None]
    logits = tiny_llama(
        torch.stack([ids[-1:] for ids in rows]),
        attention_mask=mask.long(),
        position_ids=lengths[:, None],
        past_key_values=stack_rows(caches, tiny_llama.config),
    ).logits
    for k, ids in enumerate(rows):
        whole = tiny_llama(ids[None]).logits[0, -1]
        assert_close(logits[k, -1], whole, terms=roundings(tiny_llama))


def test_copied_rows_do_not_keep_the_batch_in_memory(tiny_llama: LlamaForCausalLM) -> None:
    cache = DynamicCache(config=tiny_llama.config)
    tiny_llama(torch.randint(3, 64, (8, 5)), past_key_values=cache)
    keys = take_row(cache, 3, 1)[0].keys
    assert keys is not None
    assert keys.untyped_storage().nbytes() == keys.numel() * keys.element_size()


@pytest.mark.numeric
def test_a_preallocated_cache_equals_a_dynamic_one(tiny_llama: LlamaForCausalLM) -> None:
    """After more tokens than its spare room, selected and repeated rows, and cropped positions."""
    plain, preallocated = (DynamicCache(config=tiny_llama.config) for _ in range(2))
    ids = torch.randint(3, 64, (4, 5))
    for cache in (plain, preallocated):
        tiny_llama(ids, past_key_values=cache)
    preallocate_cache(preallocated)
    for k in range(60):
        count = 4 if k <= 10 else 2 if k <= 20 else 6
        token = torch.randint(3, 64, (count, 1))
        one, two = (tiny_llama(token, past_key_values=c).logits for c in (plain, preallocated))
        assert_close(one, two, terms=roundings(tiny_llama))
        for cache in (plain, preallocated):
            if k == 10:
                cache.batch_select_indices(torch.tensor([0, 2]))
            elif k == 20:
                cache.batch_repeat_interleave(3)
            elif k == 30:
                cache.crop(-7)
    held = [take_row(cache, 1, 2) for cache in (preallocated, plain)]
    # Where tokens lie elsewhere in memory, sums over them may come out otherwise.
    assert_close(*held, terms=roundings(tiny_llama))


def test_check_branchable_names_the_cache_that_cannot_be_branched(
    tiny_llama: LlamaForCausalLM,
) -> None:
    check_branchable(DynamicCache(config=tiny_llama.config), "StepSearch")
    static = StaticCache(config=tiny_llama.config, max_cache_len=8)
    with pytest.raises(ValueError, match="StepSearch branches .* got StaticCache"):
        check_branchable(static, "StepSearch")
    with pytest.raises(ValueError, match="got NoneType"):
        check_branchable(None, "StepSearch")
    windows = {"sliding_window": 4, "layer_types": ["sliding_attention"] * 2}
    sliding = tiny_llama.config.__class__.from_dict({**tiny_llama.config.to_dict(), **windows})
    lost = DynamicCache(config=sliding)
    LlamaForCausalLM(sliding)(torch.tensor([[5, 6, 7, 8, 9]]), past_key_values=lost)
    retain_sliding_window_history(lost)
    with pytest.raises(ValueError, match="DynamicSlidingWindowLayer"):
        check_branchable(lost, "StepSearch")
    check_branchable(new_cache(sliding), "StepSearch")
