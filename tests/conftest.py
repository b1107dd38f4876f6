import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from reason_decode.tiny import Tiny

ROOT = Path(__file__).resolve().parent.parent

# No test reaches for the network. The variable is read when transformers is first imported.
os.environ["HF_HUB_OFFLINE"] = "1"
# Sums come out in the same order on any number of cores, and tiny models run faster so. More are
# asked for by make portable.
torch.set_num_threads(int(os.environ.get("REASON_DECODE_TEST_THREADS", "1")))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public data sets; the test is skipped where it is absent."""
    folder = Path(os.environ.get("REASON_DECODE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}; REASON_DECODE_DATA names another folder")
    return folder


@pytest.fixture
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers copies the code that it is to run; not into the user's cache here."""
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )


@pytest.fixture(scope="session")
def tiny_llama() -> "LlamaForCausalLM":
    """A random Llama of 2 layers: vocabulary 64, width 32; pad 0, bos 1, eos 2."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="session")
def tiny() -> "Tiny":
    """The packaged models."""
    from reason_decode.tiny import load

    return load()
