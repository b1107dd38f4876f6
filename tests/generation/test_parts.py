"""The rows that stand side by side in the generator, and models that no row can be read by."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from reason_decode import BestOfN, StepSearch
from reason_decode.generation import engine, parts
from reason_decode.strategies.base import Strategy
from reason_decode.tiny import Tiny
from tests.architectures import random_model
from tests.fakes import TableScorer


def _strategy(tiny: Tiny, name: str, rows: int | None = None) -> Strategy:
    if name == "best of 20":
        return BestOfN(TableScorer(len), tokenizer=tiny.tokenizer, n=20, batch_rows=rows)
    how: dict[str, Any] = {"n": 3, "beam_width": 3, "lookahead": 1, "batch_rows": rows}
    return StepSearch(TableScorer(len), tokenizer=tiny.tokenizer, **how)


def _generate(tiny: Tiny, strategy: Strategy, **options: Any) -> Any:
    model: Any = random_model("llama", len(tiny.tokenizer))
    newline = tiny.tokenizer.convert_tokens_to_ids("Ċ")
    how = {"max_new_tokens": 8, "do_sample": True, "pad_token_id": 0, **options}
    torch.manual_seed(0)
    return model.generate(
        **tiny.tokenizer(["2 + 2 =\n"], return_tensors="pt"),
        sequence_bias=[[[newline], 6.0]],
        return_dict_in_generate=True,
        custom_generate=strategy,
        **how,
    )


@contextmanager
def _rows_of_forward_passes(tiny: Tiny, most: int | None = None) -> Iterator[list[int]]:
    """Numbers of rows; more than ``most`` are out of memory."""
    rows: list[int] = []

    def before(_: Any, args: Any) -> None:
        rows.append(len(args[0]))
        if most is not None and rows[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 64 GiB")

    model: Any = random_model("llama", len(tiny.tokenizer))
    handle = model.get_input_embeddings().register_forward_pre_hook(before)
    yield rows
    handle.remove()


@pytest.mark.parametrize("name", ["best of 20", "search"])
def test_batch_rows_bounds_the_rows_side_by_side(tiny: Tiny, name: str) -> None:
    with _rows_of_forward_passes(tiny) as rows:
        out = _generate(tiny, _strategy(tiny, name, 4))
    assert max(rows) == 4
    if name == "best of 20":
        assert len(out.traces[0].candidates) == 20
        prompt = len(tiny.tokenizer("2 + 2 =\n")["input_ids"])
        assert out.cost.prefill == prompt, "the prompt is read once for all parts"


@pytest.mark.parametrize("name", ["best of 20", "search"])
def test_rows_are_halved_until_memory_suffices(tiny: Tiny, name: str) -> None:
    with _rows_of_forward_passes(tiny, most=6) as rows:
        out = _generate(tiny, _strategy(tiny, name))
    assert len(out.traces[0].candidates) == (20 if name == "best of 20" else 3)
    assert sum(count > 6 for count in rows) <= 3 * max(1, len(out.traces[0].rounds))


def test_one_row_that_memory_does_not_hold_is_an_error(tiny: Tiny) -> None:
    best = _strategy(tiny, "best of 20")
    with _rows_of_forward_passes(tiny, most=0), pytest.raises(torch.OutOfMemoryError):
        _generate(tiny, best)


def test_parts_sample_as_one_batch_would(tiny: Tiny) -> None:
    """With n=1 the parts are single prompts, whose greedy tokens are those of the batch."""
    model: Any = random_model("llama", len(tiny.tokenizer))
    inputs = tiny.tokenizer(
        ["2 + 2 =\n", "Make 24 from 4 5 6.\n"], return_tensors="pt", padding=True
    )
    how: dict[str, Any] = {"max_new_tokens": 9, "do_sample": False, "pad_token_id": 0}
    for strategy in (_strategy(tiny, "search", 1), _strategy(tiny, "best of 20", 1)):
        object.__setattr__(strategy, "n", 1)
        plain = model.generate(**inputs, **how)
        if isinstance(strategy, StepSearch):
            object.__setattr__(strategy, "beam_width", 1)
        assert torch.equal(plain, model.generate(**inputs, **how, custom_generate=strategy))


def test_on_a_cpu_the_rows_are_those_that_free_memory_holds(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = random_model("llama", len(tiny.tokenizer))
    cache = DynamicCache(config=model.config)
    model(torch.tensor([[5, 6, 7, 8]]), past_key_values=cache)
    # 2 layers of 2 heads of 8 floats, keys and values: 256 bytes a position.
    for free, rows in ((2 * 256 * 10 * 7, 7), (0, 1), (10**12, 99), (None, 99)):
        monkeypatch.setattr(parts, "free_memory", lambda free=free: free)
        assert parts.fitting_rows(cache, 6, 99) == rows


def test_free_memory_is_asked_only_where_rows_may_not_fit(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking reads files, and every step of a search did."""
    asked: list[int] = []
    monkeypatch.setattr(parts, "free_memory", lambda: asked.append(1) or 1)
    with _rows_of_forward_passes(tiny) as rows:
        _generate(tiny, _strategy(tiny, "search"))
    assert not asked and max(rows) > 1
    monkeypatch.setattr(engine, "_SMALL", 0)
    with _rows_of_forward_passes(tiny) as rows:
        _generate(tiny, _strategy(tiny, "search"))
    assert asked and max(rows) == 1


@pytest.mark.parametrize("rows", [0, -1, 2.5, True])
def test_rejects_impossible_numbers_of_rows(tiny: Tiny, rows: Any) -> None:
    with pytest.raises(ValueError, match="batch_rows"):
        _strategy(tiny, "best of 20", rows)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # its name changes in transformers 6
def test_gradient_checkpointing_in_training_is_refused_by_name(tiny: Tiny) -> None:
    """It switches the cache off, which ended in an AssertionError after the prompt was read."""
    random_model.cache_clear()
    model: Any = random_model("llama", len(tiny.tokenizer))
    model.gradient_checkpointing_enable()
    _generate(tiny, _strategy(tiny, "search"))
    model.train()
    with pytest.raises(ValueError, match="training mode with gradient checkpointing"):
        _generate(tiny, _strategy(tiny, "search"))
    random_model.cache_clear()


def test_a_model_without_weights_is_refused_by_name(tiny: Tiny) -> None:
    model: Any = random_model("qwen2", len(tiny.tokenizer))
    with torch.device("meta"):
        empty = type(model)(model.config)
    inputs = tiny.tokenizer(["2 + 2 =\n"], return_tensors="pt")
    with pytest.raises(ValueError, match="Qwen2ForCausalLM on the meta device"):
        empty.generate(**inputs, max_new_tokens=3, custom_generate=_strategy(tiny, "search"))
