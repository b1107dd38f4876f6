"""Trained weights as checkpoints for plain transformers: half precision on disk, float32 in use."""

import json
import shutil
from pathlib import Path
from typing import Any

from torch import nn
from transformers import LlamaForCausalLM, LlamaForTokenClassification, PreTrainedModel

from reason_decode.tiny.batch import VERDICTS

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def base(out: Path, model: LlamaForCausalLM) -> None:
    """Write the generator to ``out/model``."""
    model.generation_config.update(do_sample=False, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    _save(model, out / "model", out)


def rationalyst(out: Path, words: Path, model: PreTrainedModel) -> None:
    """Write the rationale model to ``out/model``.

    Args:
        out: the stage's folder.
        words: the folder with the tokenizer's files.
        model: the model.
    """
    config: Any = model.generation_config
    config.update(do_sample=False, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    _save(model, out / "model", words)


def prm(out: Path, words: Path, model: LlamaForCausalLM, verdict: nn.Linear) -> None:
    """Write the process reward model, trunk and verdict head, to ``out/model``.

    Args:
        out: the stage's folder.
        words: the folder with the tokenizer's files.
        model: the trunk, in a causal language model.
        verdict: Linear(h, 3), one row for each of ``batch.VERDICTS``.
    """
    config = model.config.__class__.from_dict(model.config.to_dict())
    config.id2label = dict(enumerate(VERDICTS))
    config.label2id = {name: k for k, name in config.id2label.items()}
    judge = LlamaForTokenClassification(config)
    judge.model.load_state_dict(model.model.state_dict())
    judge.score.load_state_dict(verdict.state_dict())
    _save(judge, out / "model", words)


def orm(out: Path, words: Path, model: PreTrainedModel) -> None:
    """Write the outcome reward model to ``out/model``.

    Args:
        out: the stage's folder.
        words: the folder with the tokenizer's files.
        model: the trained model, for sequence classification.
    """
    _save(model, out / "model", words)


def _save(model: PreTrainedModel, folder: Path, words: Path) -> None:
    model.half().save_pretrained(folder)
    model.float()
    # The stored dtype is what "auto" loads: half a file, but full precision on a CPU.
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2) + "\n")
    (folder / "model.safetensors").chmod(0o644)
    for name in _TOKENIZER_FILES:
        if (words / name).exists():
            shutil.copy(words / name, folder / name)
