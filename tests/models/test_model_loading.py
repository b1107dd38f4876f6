"""Options of loading a generator: dtype, device map, quantization, GGUF files."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from reason_decode.core.model_options import ModelOptions
from reason_decode.models import loading
from reason_decode.models.devices import is_fast_on_cpu
from reason_decode.models.loading import load_model
from tests.random_models import save_llama


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is saved in bfloat16."""
    path = save_llama(tmp_path_factory.mktemp("llama"))
    load_model(str(path))[0].to(torch.bfloat16).save_pretrained(path)
    return path


@pytest.mark.parametrize("fast", [True, False])
def test_auto_keeps_the_dtype_of_a_checkpoint_where_it_is_fast(
    folder: Path, fast: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loading, "is_fast_on_cpu", lambda dtype: fast)
    monkeypatch.setattr(loading, "default_device", lambda: torch.device("cpu"))
    model, _ = load_model(str(folder))
    assert model.dtype == (torch.bfloat16 if fast else torch.float32)
    named, _ = load_model(str(folder), ModelOptions(dtype="bfloat16"))
    assert named.dtype == torch.bfloat16


def test_the_measurement_leaves_torch_as_it_was():
    threads = torch.get_num_threads()
    assert is_fast_on_cpu(torch.float32) and isinstance(is_fast_on_cpu(torch.bfloat16), bool)
    assert torch.get_num_threads() == threads


def test_a_gguf_file_that_is_not_there_is_named(folder: Path):
    with pytest.raises(ValueError, match=r"has no file x.gguf; its GGUF files: none"):
        load_model(str(folder), ModelOptions(gguf_file="x.gguf"))
    file = folder / "m.gguf"
    file.touch()
    with pytest.raises(ValueError, match=r"got the file .*gguf_file=m.gguf \(--gguf-file\)"):
        load_model(str(file))
    file.unlink()


def test_quantization_is_a_word_or_a_file(folder: Path, tmp_path: Path, monkeypatch: Any):
    got: list[Any] = []

    def load(kind: Any, name: str, **arguments: Any) -> Any:
        got.append(arguments["quantization_config"])
        raise OSError("not loaded here")

    monkeypatch.setattr(loading, "load_checkpoint", load)
    path = tmp_path / "q.yaml"
    path.write_text("quant_method: bitsandbytes\nload_in_4bit: true\n")
    for name in ("bnb-4bit", str(path)):
        with pytest.raises(OSError, match="not loaded"):
            load_model(str(folder), ModelOptions(quantization=name))
    assert [config.load_in_4bit for config in got] == [True, True]
    for text, message in (("quant_method: none", "cannot be used: "), ("[1", "cannot be used: ")):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_model(str(folder), ModelOptions(quantization=str(path)))
    with pytest.raises(ValueError, match="quantization=3bit; need one of bnb-4bit"):
        load_model(str(folder), ModelOptions(quantization="3bit"))


def test_a_package_that_is_missing_is_named_with_its_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(ImportError, match="pip install torchao"):
        load_model(str(folder), ModelOptions(quantization="torchao-int8"))
    monkeypatch.setattr(
        "transformers.integrations.accelerate.is_accelerate_available", lambda *_: False
    )
    with pytest.raises(ValueError, match="pip install accelerate"):
        load_model(str(folder), ModelOptions(device_map="auto"))

    def from_pretrained(*_: Any, **__: Any) -> Any:
        raise ImportError("Please install torch and gguf>=0.10.0 to load a GGUF checkpoint")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", from_pretrained)
    monkeypatch.setattr("reason_decode.models.checkpoint.find_spec", lambda name: None)
    (tmp_path / "m.gguf").touch()
    with pytest.raises(ImportError, match=r"needs gguf: pip install gguf$"):
        load_model(str(tmp_path), ModelOptions(gguf_file="m.gguf"))


def test_a_device_map_places_the_layers(folder: Path):
    pytest.importorskip("accelerate")
    model, _ = load_model(str(folder), ModelOptions(device_map="cpu"))
    assert model.device.type == "cpu"
