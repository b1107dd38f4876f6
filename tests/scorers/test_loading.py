"""Models from folders, and a whole command over them with nothing replaced."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaForCausalLM,
    LlamaForTokenClassification,
    PreTrainedTokenizerFast,
)

from reason_decode.cli import main
from reason_decode.models.loading import load_model
from reason_decode.scorers.loading import load_scorer


@pytest.fixture(scope="module")
def folders(tiny_llama: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory):
    """A generator and a process reward model on disk, with one token a character."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789 \n+-*/()=.:"
    words = ["<pad>", "<bos>", "<eos>", "<unk>", *letters]
    core = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, "<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = type(tiny_llama.config)(**{**tiny_llama.config.to_dict(), "num_labels": 2})
        prm = LlamaForTokenClassification(config)
    generator, scorer = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("prm")
    for model, folder in ((tiny_llama, generator), (prm, scorer)):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return generator, scorer


def test_a_tokenizer_without_padding_pads_with_its_end(folders: tuple[Path, Path]):
    model, tokenizer = load_model(str(folders[0]))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 2 and not model.training


def test_a_generator_is_no_reward_model(folders: tuple[Path, Path]):
    with pytest.raises(ValueError, match="pass format= one of token-classification"):
        load_scorer(str(folders[0]))


@pytest.mark.parametrize("strategy", ["sample", "best-of-n", "step-search", "self-consistency"])
def test_generate_runs_models_from_folders(
    folders: tuple[Path, Path], tmp_path: Path, strategy: str
):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "1 + 1 ="}\n{"prompt": "make 24"}\n{"prompt": "x"}\n')
    argv = ["generate", "--input", str(source), "--output", str(out), "--strategy", strategy]
    argv += ["--model", str(folders[0]), "--n", "2"]
    if strategy in ("best-of-n", "step-search"):
        argv += ["--scorer", str(folders[1])]
    assert main([*argv, "--max-new-tokens", "6", "--batch-size", "2"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == [1, 2, 3]
    scored = strategy in ("best-of-n", "step-search")
    assert all((row["score"] is not None) == scored for row in rows)
    first = out.read_text()
    out.unlink()
    assert main([*argv, "--max-new-tokens", "6", "--batch-size", "2"]) == 0
    assert out.read_text() == first
