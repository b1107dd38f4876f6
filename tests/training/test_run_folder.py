"""A folder of training belongs to one run: its settings, its data, its base, one process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from reason_decode import tiny
from reason_decode.training import LabelledSolution, PRMConfig, train_prm
from reason_decode.training.run_folder import run_folder

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' and torch's own
ONE = LabelledSolution("1 + 2 =\n", ("1 + 2 = 3", "3 + 1 = 5"), (1, -1))
OTHER = LabelledSolution("1 + 2 =\n", ("1 + 2 = 3", "3 + 1 = 5"), (1, 1))


def train(output: Path, solutions: list[LabelledSolution], base: Any = None, **how: Any) -> Any:
    config = PRMConfig(**{"num_train_epochs": 1, "learning_rate": 1e-5, "warmup_steps": 0, **how})
    return train_prm(
        base or tiny.WEIGHTS / "base", tiny.load().tokenizer, solutions, output, config
    )


def test_a_run_with_other_settings_or_data_is_refused_until_restart(tmp_path):
    """Another rate, data or base was ignored: the old run resumed, and its losses were printed."""
    out = tmp_path / "prm"
    train(out, [ONE])
    before = (out / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"learning_rate: 1e-05, now 0\.01\); take another output"):
        train(out, [ONE], learning_rate=0.01)
    with pytest.raises(ValueError, match="examples: .*restart"):
        train(out, [OTHER])
    with pytest.raises(ValueError, match="model: .*now"):
        train(out, [ONE], tiny.WEIGHTS / "prm")
    assert (out / "model.safetensors").read_bytes() == before
    train(out, [ONE], learning_rate=0.01, restart=True)
    assert (out / "model.safetensors").read_bytes() != before


def test_a_finished_run_says_so_and_trains_nothing(tmp_path, caplog):
    first = train(tmp_path / "prm", [ONE], save_steps=1)
    before = (tmp_path / "prm" / "model.safetensors").read_bytes()
    assert train(tmp_path / "prm", [ONE], save_steps=1)["steps"] == first["steps"]
    assert "was finished: nothing was trained" in caplog.text
    assert (tmp_path / "prm" / "model.safetensors").read_bytes() == before


def test_a_model_of_others_is_never_overwritten(tmp_path):
    tiny.load().model.save_pretrained(tmp_path / "mine")
    before = (tmp_path / "mine" / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="holds config.json and no training.json"):
        train(tmp_path / "mine", [ONE], restart=True)
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == before


def test_a_second_process_is_refused(tmp_path):
    with run_folder(tmp_path, {"n": 1}):
        with pytest.raises(ValueError, match="another process is writing"):
            with run_folder(tmp_path, {"n": 1}, restart=True):
                pass
    with run_folder(tmp_path, {"n": 1}) as checkpoints:
        assert checkpoints == tmp_path / "checkpoints"


@pytest.mark.parametrize(("dtype", "least", "most"), [("float32", 0.99, 1.0), ("auto", 0.0, 0.5)])
def test_a_small_update_moves_the_weights_of_a_bfloat16_checkpoint(tmp_path, dtype, least, most):
    """A bfloat16 checkpoint was trained in bfloat16: at 1e-5 one weight in ten changed."""
    base = AutoModelForCausalLM.from_pretrained(tiny.WEIGHTS / "base", dtype=torch.bfloat16)
    base.save_pretrained(tmp_path / "base")
    tiny.load().tokenizer.save_pretrained(tmp_path / "base")
    train(tmp_path / "prm", [ONE], tmp_path / "base", dtype=dtype, weight_decay=0.0)
    old, new = (load_file(tmp_path / x / "model.safetensors") for x in ("base", "prm"))
    # Embeddings of tokens that do not occur have no gradient.
    names = [name for name in new if name in old and "embed" not in name and "score" not in name]
    moved = sum(int((new[x].float() != old[x].float()).sum()) for x in names)
    assert least <= moved / sum(new[x].numel() for x in names) <= most


def test_a_checkpoint_that_a_kill_cut_off_is_not_resumed_from(tmp_path, caplog):
    """After a kill in the middle of one, every run ended: "Can't find a valid checkpoint"."""
    two = [ONE, replace(ONE, prompt="1 + 3 =\n")]
    whole = train(tmp_path / "whole", two, save_steps=1, batch_size=1)
    train(tmp_path / "cut", two, save_steps=1, batch_size=1)
    checkpoints = tmp_path / "cut" / "checkpoints"
    (checkpoints / "finished.json").unlink()
    (checkpoints / "checkpoint-2" / "trainer_state.json").unlink()
    (checkpoints / "checkpoint-2" / "model.safetensors").write_bytes(b"cut")
    assert train(tmp_path / "cut", two, save_steps=1, batch_size=1) == whole
    assert "checkpoint-2 was not saved whole" in caplog.text
    one, other = (load_file(tmp_path / x / "model.safetensors") for x in ("whole", "cut"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "error",
    [
        SafetensorError(
            "Error while serializing: I/O error: No space left on device (os error 28)"
        ),
        RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"),
    ],
)
def test_a_full_disk_is_an_error_of_one_line(tmp_path, error):
    """It was a traceback of safetensors, or of torch."""
    with pytest.raises(OSError, match="cannot write to .*whole checkpoint"):
        with run_folder(tmp_path, {"n": 1}):
            raise error
    with pytest.raises(RuntimeError, match="other"), run_folder(tmp_path, {"n": 1}):
        raise RuntimeError("other")
