"""Scores of reward models over real vLLM servers, against the same models in this process.

``REASON_DECODE_VLLM`` is the Python of an environment with vLLM, which starts a server of each
model, or ``REASON_DECODE_VLLM_PRM``, ``_ORM`` and ``_QWEN`` are the addresses of such servers.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2Model

from reason_decode import BestOfN, ProcessRewardModel
from reason_decode.scorers import ServedOutcomeRewardModel, ServedProcessRewardModel
from reason_decode.tiny import WEIGHTS, Tiny
from tests.chat_templates import CHATML, tokenizer
from tests.server_process import vllm

pytestmark = pytest.mark.real
PROMPTS = ["Make 24 from 4 5 6 10.\n"] * 2
SOLUTIONS = [
    ["10 - 4 = 6 (left: 5 6 6)", "5 * 6 = 31 (left: 6 31)"],
    ["4 * 6 = 24 (left: 5 10 24)", "10 / 5 = 2 (left: 2 24)", "2 * 24 = 48 (left: 48)"],
]


@contextmanager
def pooling(model: Path, name: str, work: Path, *options: str) -> Iterator[str]:
    """The address of a vLLM server of a reward model."""
    given = os.environ.get(f"REASON_DECODE_VLLM_{name.upper()}")
    python = os.environ.get("REASON_DECODE_VLLM", "http")
    if given is not None:
        yield given
        return
    if python.startswith("http"):
        pytest.skip("no vLLM: set REASON_DECODE_VLLM to the Python that has it")
    given_options = ("--runner", "pooling", *options)
    with vllm(python, model, name, work / f"{name}.log", *given_options) as url:
        yield url


def check_equal(here: Any, there: Any) -> None:
    """Fails unless both score alike; the server multiplies matrices in another order."""
    ours, theirs = (x.score(PROMPTS, SOLUTIONS) for x in (here, there))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3)


def random_qwen_prm(folder: Path) -> int:
    """Files of a random model such as those of Qwen2.5-Math-PRM; the id of its step tag."""
    tokens = tokenizer(CHATML)
    tokens.add_special_tokens({"pad_token": "<pad>"})
    tokens.add_tokens(["<extra_0>", "<|im_start|>", "<|im_end|>"], special_tokens=True)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 128, "num_hidden_layers": 2}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2}
    ids: dict[str, Any] = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    config = Qwen2Config(vocab_size=len(tokens) + 8, **sizes, **heads, **ids)
    body, linear = Qwen2Model(config), torch.nn.Linear
    layers = torch.nn.Sequential(linear(128, 128), torch.nn.ReLU(), linear(128, 2))
    weights = {f"model.{name}": x.contiguous() for name, x in body.state_dict().items()}
    weights |= {f"score.{name}": x for name, x in layers.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config.architectures = ["Qwen2ForProcessRewardModel"]
    config.save_pretrained(folder)
    tokens.save_pretrained(folder)
    return int(tokens.convert_tokens_to_ids("<extra_0>"))


def test_token_classification_over_vllm_scores_as_here(tiny: Tiny, tmp_path: Path):
    with pooling(WEIGHTS / "prm", "prm", tmp_path) as url:
        served = ServedProcessRewardModel.from_pretrained(WEIGHTS / "prm", url, "prm")
        check_equal(tiny.prm, served)
        best = BestOfN(served, tokenizer=tiny.tokenizer, n=4)
        response = best.complete(tiny.model, PROMPTS[0], max_new_tokens=64)
        assert response.total == max(x.total for x in response.trace.candidates)


def test_qwen_s_layout_over_vllm_scores_as_here(tmp_path: Path):
    """vLLM gives the scores of this architecture at one token alone, 151651 in the published ones.

    The test expected to fail for that, until vLLM was told which token it is here.
    """
    folder = tmp_path / "model"
    folder.mkdir()
    tag = random_qwen_prm(folder)
    pooler = json.dumps({"step_tag_id": tag})
    with pooling(folder, "qwen", tmp_path, "--pooler-config", pooler) as url:
        here = ProcessRewardModel.from_pretrained(folder, dtype=torch.float32)
        check_equal(here, ServedProcessRewardModel.from_pretrained(folder, url, "qwen"))


def test_classify_over_vllm_scores_as_here(tiny: Tiny, tmp_path: Path):
    with pooling(WEIGHTS / "orm", "orm", tmp_path) as url:
        served = ServedOutcomeRewardModel.from_pretrained(WEIGHTS / "orm", url, "orm")
        check_equal(tiny.orm, served)
