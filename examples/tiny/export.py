"""Trained weights as checkpoints for plain transformers: half precision on disk, float32 in use."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaForCausalLM, LlamaForTokenClassification, PreTrainedModel

from examples.tiny.batch import VERDICTS
from reason_decode.adapters.active import need_peft

_ADAPTER = ("adapter_model.safetensors", "adapter_config.json")
# What peft needs to load LoRA; the rest is its defaults, which differ between its versions.
_LORA = ("peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "bias")
# A search for aims from four numbers takes most often 210, at most 320.
_RATIONALE_TOKENS = 330
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
    config.max_new_tokens = _RATIONALE_TOKENS
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


def adapters(out: Path, folders: Mapping[str, Path]) -> None:
    """Write LoRA adapters, and NAT ones beside their negative one, to folders of their names.

    Half precision moves a negative adapter a little; a NAT one is told the SHA-256 of what it then
    stands beside.

    Args:
        out: is made.
        folders: name -> an adapter's folder.

    Raises:
        ModuleNotFoundError: peft is not installed.
    """
    need_peft()
    from reason_decode.adapters.nat_layer import digest

    told: dict[str, str] = {}
    for name, folder in folders.items():
        tensors = {key: x.half() for key, x in load_file(folder / _ADAPTER[0]).items()}
        (out / name).mkdir(parents=True, exist_ok=True)
        save_file(tensors, out / name / _ADAPTER[0], metadata={"format": "pt"})
        (out / name / _ADAPTER[0]).chmod(0o644)
        told[name] = digest(tensors)
    for name, folder in folders.items():
        config = json.loads((folder / _ADAPTER[1]).read_text())
        if "nat" in config:
            config["nat"]["negative_sha256"] = told[config["nat"]["negative"]]
        else:
            config = {key: config[key] for key in _LORA}
            config["target_modules"] = sorted(config["target_modules"])
        config["base_model_name_or_path"] = "reason-decode tiny base"
        (out / name / _ADAPTER[1]).write_text(json.dumps(config, indent=2) + "\n")


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
