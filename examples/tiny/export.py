"""Trained weights as transformers checkpoints: float16 on disk, float32 in use."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn
from transformers import LlamaForCausalLM, LlamaForTokenClassification, PreTrainedModel

from examples.tiny.batch import VERDICTS
from reason_decode.adapters.active import require_peft
from reason_decode.scorers.rationale import CONFIG_KEY

_ADAPTER_WEIGHTS, _ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
# The keys that peft needs to load LoRA; the others are defaults, which differ between its versions.
_LORA_KEYS = ("peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "target_modules", "bias")
# A search for aims from four numbers mostly has 210 tokens, at most 320.
_RATIONALE_TOKENS = 330
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def base(out: Path, model: LlamaForCausalLM) -> None:
    """Write the generator to ``out/model``.

    Args:
        out: folder of the training stage, with the tokenizer's files.
        model: the trained model.
    """
    model.generation_config.update(do_sample=False, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    _save(model, out / "model", out)


def rationalyst(out: Path, tokenizer: Path, model: PreTrainedModel) -> None:
    """Write the rationale model to ``out/model``.

    Args:
        out: folder of the training stage.
        tokenizer: folder with the tokenizer's files.
        model: the trained model.
    """
    config: Any = model.generation_config
    config.update(do_sample=False, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    config.max_new_tokens = _RATIONALE_TOKENS
    model.config.update({CONFIG_KEY: True})
    _save(model, out / "model", tokenizer)


def prm(out: Path, tokenizer: Path, model: LlamaForCausalLM, verdict: nn.Linear) -> None:
    """Write the process reward model, trunk and verdict head, to ``out/model``.

    Args:
        out: folder of the training stage.
        tokenizer: folder with the tokenizer's files.
        model: causal language model whose trunk is used.
        verdict: Linear(h, 3), one row for each of ``batch.VERDICTS``.
    """
    config = model.config.__class__.from_dict(model.config.to_dict())
    config.id2label = dict(enumerate(VERDICTS))
    config.label2id = {name: k for k, name in config.id2label.items()}
    classifier = LlamaForTokenClassification(config)
    classifier.model.load_state_dict(model.model.state_dict())
    classifier.score.load_state_dict(verdict.state_dict())
    _save(classifier, out / "model", tokenizer)


def orm(out: Path, tokenizer: Path, model: PreTrainedModel) -> None:
    """Write the outcome reward model to ``out/model``.

    Args:
        out: folder of the training stage.
        tokenizer: folder with the tokenizer's files.
        model: the trained model for sequence classification.
    """
    _save(model, out / "model", tokenizer)


def adapters(out: Path, folders: Mapping[str, Path]) -> None:
    """Write LoRA and NAT adapters to folders of their names, in float16.

    float16 changes a negative adapter slightly, so the config of a NAT adapter gets the SHA-256 of
    the negative adapter as it is written.

    Args:
        out: the folder to write to, made if it does not exist.
        folders: name -> folder of a trained adapter.

    Raises:
        ModuleNotFoundError: peft is not installed.
    """
    require_peft()
    from reason_decode.adapters.nat_layer import sha256_of

    digests: dict[str, str] = {}
    for name, folder in folders.items():
        tensors = {key: x.half() for key, x in load_file(folder / _ADAPTER_WEIGHTS).items()}
        (out / name).mkdir(parents=True, exist_ok=True)
        save_file(tensors, out / name / _ADAPTER_WEIGHTS, metadata={"format": "pt"})
        (out / name / _ADAPTER_WEIGHTS).chmod(0o644)
        digests[name] = sha256_of(tensors)
    for name, folder in folders.items():
        config = json.loads((folder / _ADAPTER_CONFIG).read_text())
        if "nat" in config:
            config["nat"]["negative_sha256"] = digests[config["nat"]["negative"]]
        else:
            config = {key: config[key] for key in _LORA_KEYS}
            config["target_modules"] = sorted(config["target_modules"])
        config["base_model_name_or_path"] = "reason-decode tiny base"
        (out / name / _ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def _save(model: PreTrainedModel, folder: Path, tokenizer: Path) -> None:
    model.half().save_pretrained(folder)
    model.float()
    # dtype="auto" loads the config's dtype: the file is half as large, and CPUs compute in float32.
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2) + "\n")
    (folder / "model.safetensors").chmod(0o644)
    for name in _TOKENIZER_FILES:
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, folder / name)
