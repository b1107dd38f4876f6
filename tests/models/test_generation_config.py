import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import GenerationConfig

from reason_decode.core.model_options import ModelOptions, PromptOptions, SamplingOptions
from reason_decode.models.generation_config import (
    clean_generation_config,
    read_generation_config,
    resolve_sampling,
)

QWEN = {"temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05}


def said(**values: Any) -> GenerationConfig:
    return GenerationConfig(**values)


def test_options_override_the_file_which_overrides_the_checkpoint(tmp_path: Path):
    path = tmp_path / "more.yaml"
    path.write_text("top_p: 0.5\ntop_k: 7\n")
    options = SamplingOptions(top_k=3, generation=str(path))
    sampling = resolve_sampling(options, said(**QWEN), greedy=False)
    assert sampling.arguments == {**QWEN, "top_p": 0.5, "top_k": 3} and sampling.unused == {}


def test_sampling_is_from_the_whole_distribution_unless_something_says_otherwise():
    # transformers samples from the 50 likeliest tokens where nothing is said.
    sampling = resolve_sampling(SamplingOptions(), said(), greedy=False)
    assert sampling.arguments == {"temperature": 1.0, "top_k": 0, "top_p": 1.0}


def test_greedy_keeps_penalties_and_drops_what_shapes_sampling():
    sampling = resolve_sampling(SamplingOptions(temperature=0.7), said(**QWEN), greedy=True)
    assert sampling.arguments == {"repetition_penalty": 1.05}
    assert str(sampling) == "repetition_penalty 1.05"
    plain = resolve_sampling(SamplingOptions(), said(), greedy=True)
    assert str(plain) == "the likeliest token each"


def test_what_asks_for_another_method_is_named_and_not_used():
    config = said(num_beams=4, length_penalty=2.0, do_sample=True, max_new_tokens=9, temperature=0)
    sampling = resolve_sampling(SamplingOptions(), config, greedy=False)
    assert sampling.arguments["temperature"] == 1.0
    assert {"num_beams", "length_penalty"} <= {*sampling.unused}
    assert "num_beams=4" in str(sampling) and "max_new_tokens" not in str(sampling)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_beams: 4", "num_beams=4, .*give --strategy step-search --beam-width"),
        ("max_new_tokens: 9", "give --max-new-tokens"),
        ("top_q: 0.9", "top_q=0.9, which is no option of sampling; drop it. Allowed are"),
        ("top_p: 3", "more.yaml: got top_p=3; need"),
        ("temperature: hot", "more.yaml: "),
        ("temperature: 0", "temperature 0; sampling needs a temperature above 0"),
        ("- 1", r"holds \[1\]; write a line"),
        ("a: b: c", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str):
    path = tmp_path / "more.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        resolve_sampling(SamplingOptions(generation=str(path)), said(), greedy=False)


def test_a_generation_config_of_a_repository_can_be_the_file(tmp_path: Path):
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({**QWEN, "eos_token_id": 2, "transformers_version": "5"}))
    options = SamplingOptions(generation=str(path))
    assert resolve_sampling(options, said(), greedy=False).arguments == QWEN


@pytest.mark.parametrize("value", ["x", 1.5, -1, [1, "x"], True])
def test_an_end_token_that_is_no_id_is_named(tmp_path: Path, value: Any):
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))
    with pytest.raises(ValueError, match=r"generation_config.json of .* says eos_token_id="):
        read_generation_config(tmp_path)


def test_a_checkpoint_without_a_generation_config_says_nothing(tmp_path: Path):
    assert read_generation_config(tmp_path).to_diff_dict().keys() == {"transformers_version"}


def test_a_chat_also_ends_with_the_tokenizers_end_token():
    tokens = SimpleNamespace(eos_token_id=7, pad_token_id=0)
    config = said(eos_token_id=[1, 2], num_beams=4, pad_token_id=10**6)
    assert clean_generation_config(config, tokens, chat=True).eos_token_id == [1, 2, 7]
    clean = clean_generation_config(config, tokens, chat=False)
    assert (clean.eos_token_id, clean.pad_token_id, clean.num_beams) == ([1, 2], 0, None)
    assert clean_generation_config(said(), tokens, chat=False).eos_token_id == [7]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SamplingOptions(top_p=0), "got top_p=0; need a number above 0, at most 1"),
        (lambda: SamplingOptions(top_k=-1), "got top_k=-1"),
        (lambda: SamplingOptions(min_p=2), "got min_p=2"),
        (lambda: SamplingOptions(temperature=float("nan")), "got temperature=nan"),
        (lambda: SamplingOptions(repetition_penalty=0), "got repetition_penalty=0"),
        (lambda: ModelOptions(quantization="bnb-4bit", gguf_file="x"), "quantized already"),
        (lambda: ModelOptions(dtype="int3"), "got dtype='int3'; need one of auto"),  # pyright: ignore
        (lambda: PromptOptions(chat=False, system="x"), "got system with chat=False"),
    ],
)
def test_options_out_of_range_are_refused(make: Any, message: str):
    with pytest.raises(ValueError, match=message):
        make()
