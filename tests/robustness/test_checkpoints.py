"""Folders of models, adapters and configs that are missing, damaged, pickled or of another kind.

Tested elsewhere: a generator as reward model, an unknown format, a head that
is not there (test_formats.py, test_ranking.py), three labels of an outcome model (test_outcome.py),
NAT adapters without their negative one or unit (test_nat.py), a wheel without weights
(test_tiny.py).
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification

from reason_decode import (
    LikelihoodScorer,
    OutcomeRewardModel,
    ProcessRewardModel,
    RankingModel,
    RationaleScorer,
)
from reason_decode.adapters import with_adapter
from reason_decode.cli import main
from reason_decode.models.checkpoint import load_checkpoint
from reason_decode.tiny import WEIGHTS, Tiny
from reason_decode.training.lora import with_lora

pytestmark = pytest.mark.filterwarnings("ignore")  # peft's own

Change = Callable[[Path], Any]


class CreatesFile:
    """An object whose pickle creates a file when it is loaded."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.place}'",)


def config(**changed: Any) -> Change:
    """Changes fields of the config; ``None`` removes one."""

    def change(folder: Path) -> None:
        path = folder / "config.json"
        fields = json.loads(path.read_text()) | changed
        path.write_text(json.dumps({k: x for k, x in fields.items() if x is not None}))

    return change


def write(name: str, text: str) -> Change:
    return lambda folder: (folder / name).write_text(text)


def cut(name: str, end: int) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:end])


def without(*names: str) -> Change:
    return lambda folder: [(folder / name).unlink() for name in names]


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"x": CreatesFile(folder / "ran")}, folder / "pytorch_model.bin")


def remote(folder: Path) -> None:
    places = {"AutoConfig": "evil.C", "AutoModelForTokenClassification": "evil.M"}
    config(model_type="evil", auto_map=places)(folder)
    write("evil.py", f"open({str(folder / 'ran')!r}, 'w')\n")(folder)


def index(text: str) -> Change:
    def change(folder: Path) -> None:
        write("model.safetensors.index.json", text)(folder)

    return change


def indexed(name: str) -> Change:
    """All weights are in a pickle, and an index names them as in ``name``, beside a decoy."""

    def change(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        pickled(folder)
        (folder / "decoy.safetensors").write_bytes(b"")
        index(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(weights, name)}))(folder)

    return change


PRM, LIKELY, ORM, RANK = ProcessRewardModel, LikelihoodScorer, OutcomeRewardModel, RankingModel
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
FOUR = {str(k): f"label {k}" for k in range(4)}
FOLDERS: dict[str, tuple[Any, str, Change, str]] = {
    "weights cut off": (PRM, "prm", cut("model.safetensors", 5000), "are damaged .*again"),
    "weights of 0 bytes": (LIKELY, "base", cut("model.safetensors", 0), "are damaged"),
    "a ranker cut off": (RANK, "base", cut("model.safetensors", 5000), "are damaged"),
    "no weights": (PRM, "prm", without("model.safetensors"), "no file named model.safetensors"),
    "pickled weights": (PRM, "prm", pickled, r"pytorch_model.bin\) are not read, for they can run"),
    "a pickled model": (LIKELY, "base", pickled, "convert them with save_pretrained"),
    "pickled rationales": (RationaleScorer, "base", pickled, "are not read"),
    "no head": (
        PRM,
        "base",
        config(architectures=["LlamaForTokenClassification"]),
        "lacks 2 weights of a LlamaForTokenClassification .score.bias, score.weight.*random",
    ),
    "no outcome head": (ORM, "base", config(), "lacks 1 weights of a .*score.weight.*another kind"),
    "layers too few": (LIKELY, "base", config(num_hidden_layers=8), "lacks 18 weights .*layers.6"),
    "an index of nothing": (RANK, "base", index("{}"), r"cannot be loaded \(KeyError: 'weight_map"),
    "an index that is no JSON": (
        RANK,
        "base",
        index("{"),
        "JSONDecodeError.*its files are damaged",
    ),
    "no tokenizer": (PRM, "prm", without(*TOKENIZER), "has no tokenizer that can be read .*copy"),
    "a tokenizer that is no JSON": (LIKELY, "base", write(TOKENIZER[0], "{"), "tokenizer_config"),
    "a tokenizer of nothing": (PRM, "prm", write(TOKENIZER[0], "{}"), "has no tokenizer that can"),
    "settings that are no JSON": (
        PRM,
        "prm",
        write(TOKENIZER[1], "["),
        "has no tokenizer that can",
    ),
    "an unknown model": (PRM, "prm", config(model_type="martian"), "model type `martian` but"),
    "a model of no type": (
        PRM,
        "prm",
        config(model_type=None),
        "should have|Should have a `model_t",
    ),
    "a config that is no JSON": (PRM, "prm", write("config.json", "{"), "not a valid JSON file"),
    "a config that is a list": (LIKELY, "base", write("config.json", "[]"), "Unrecognized model"),
    "seven heads": (
        PRM,
        "prm",
        config(num_attention_heads=7),
        "describes no possible model: .*heads",
    ),
    "layers below 0": (LIKELY, "base", config(num_hidden_layers=-1), "a config.json without any"),
    "four labels": (PRM, "prm", config(id2label=FOUR), r"score.bias is \(3,\) there and \(4,\)"),
    "another width": (LIKELY, "base", config(hidden_size=64), "do not fit its config.json: .*such"),
    "another vocabulary": (
        PRM,
        "prm",
        config(vocab_size=10),
        r"\(327, 192\) there and \(10, 192\)",
    ),
    "an index of a pickle": (
        LIKELY,
        "base",
        indexed("weights.bin"),
        "names 'weights.bin' as a file of weights; only safetensors",
    ),
    "an index of a file elsewhere": (
        PRM,
        "prm",
        indexed("../x.safetensors"),
        "names '../x.safetensors' as a file of weights",
    ),
    "attention from the Hub": (
        LIKELY,
        "base",
        config(attn_implementation="owner/kernel"),
        "asks for the attention 'owner/kernel', code that would be downloaded",
    ),
    "far more layers than weights": (
        PRM,
        "prm",
        config(num_hidden_layers=200_000),
        "says num_hidden_layers=200000, and there are weights of",
    ),
    "code of its own": (PRM, "prm", remote, "custom code which must be executed|contains custom"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_broken_checkpoints_are_rejected(tmp_path: Path, case: str):
    # Regression: missing weights were random numbers and used to score; pickles were loaded; and
    # damaged files were tracebacks of safetensors, torch and json that did not name the file.
    scorer, source, change, message = FOLDERS[case]
    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS / source, folder)
    change(folder)
    with pytest.raises((ValueError, OSError), match=message) as caught:
        scorer.from_pretrained(folder)
    assert str(folder) in str(caught.value)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("scorer", [PRM, LIKELY, ORM, RANK, RationaleScorer])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "nowhere/at/all",
            "there is no folder nowhere/at/all; pass one that save_pretrained wrote",
        ),
        ("no id!", "there is no folder no id!; .* or a Hub id such as owner/name"),
        ("someone/some-model", "someone/some-model"),
        (__file__, "got the file .*pass the folder that holds it"),
        (str(Path(__file__).parent), "has no config.json; it holds .*test_arguments.py"),
    ],
    ids=["a path", "no id", "an id", "a file", "another folder"],
)
def test_places_without_a_model_are_rejected(scorer: Any, name: str, message: str):
    # Regression: a missing folder was reported as an ill-formed repo id, by rankers as a pickle.
    with pytest.raises((ValueError, OSError), match=message):
        scorer.from_pretrained(name)


@pytest.fixture
def adapter(tmp_path: Path, tiny: Tiny) -> Path:
    """A LoRA adapter of the tiny model."""
    base = AutoModelForCausalLM.from_pretrained(WEIGHTS / "base")
    with_lora(base, rank=1).save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def base_is(name: str | None, kind: str = "LORA") -> Change:
    def change(folder: Path) -> None:
        path = folder / "adapter_config.json"
        changed = {"base_model_name_or_path": name, "peft_type": kind}
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))

    return change


def pickled_adapter(folder: Path) -> None:
    weights = load_file(folder / "adapter_model.safetensors")
    torch.save(weights | {"x": CreatesFile(folder / "ran")}, folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


def test_an_adapter_without_its_base_names_the_base(adapter: Path):
    # Regression: "We couldn't connect to huggingface.co" named neither the adapter nor its base.
    base_is("gone/away")(adapter)
    for scorer in (LikelihoodScorer, ProcessRewardModel):
        with pytest.raises(
            OSError, match=r"LoRA adapter of 'gone/away'.*with_adapter\(model, folder\)"
        ):
            scorer.from_pretrained(adapter)


ADAPTERS: dict[str, tuple[Change, str]] = {
    "of no kind": (base_is("x", "MARTIAN"), "cannot be loaded .KeyError: 'MARTIAN'"),
    "no JSON": (write("adapter_config.json", "{"), r"cannot be loaded \(JSONDecodeError"),
    "cut off": (cut("adapter_model.safetensors", 100), "SafetensorError: .*damaged, or was not"),
    "pickled": (pickled_adapter, r"adapter_model.bin\) are not read, for they can run code"),
    "no config": (without("adapter_config.json"), "has no adapter_config.json, as save_pretrained"),
    "not there": (lambda folder: shutil.rmtree(folder), "no adapter .*adapter"),
}


@pytest.mark.parametrize("case", ADAPTERS)
def test_broken_adapters_are_rejected(adapter: Path, tiny: Tiny, case: str):
    # Regression: KeyErrors, JSONDecodeErrors and SafetensorErrors that did not name the adapter.
    change, message = ADAPTERS[case]
    change(adapter)
    with pytest.raises((ValueError, OSError), match=message):
        with_adapter(tiny.model, adapter)
    assert not (adapter / "ran").exists()


@pytest.mark.parametrize(
    ("option", "change", "message"),
    [
        ("--scorer", cut("model.safetensors", 5000), "are damaged"),
        ("--model", config(hidden_size=64), "do not fit its config.json"),
        ("--model", write("tokenizer.json", "{}"), "has no tokenizer that can be read"),
        ("--scorer", config(num_attention_heads=7), "describes no possible model"),
    ],
    ids=["cut off", "another width", "no tokenizer", "seven heads"],
)
def test_commands_report_a_broken_checkpoint_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], option: str, change: Change, message: str
):
    # Regression: each of these was a traceback.
    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS / "prm", folder)
    change(folder)
    assert (
        main(["demo", "--scorer", "tiny", option, str(folder), "--max-new-tokens", "2", "--n", "2"])
        == 2
    )
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("reason-deco")]
    assert len(lines) == 1 and message in lines[0] and str(folder) in lines[0]


def test_a_new_head_may_lack_weights_and_its_body_may_not(tmp_path: Path):
    # Regression: to allow a head with other classes, all mismatches were allowed, so that training
    # began from random layers if the config did not fit the weights.
    kind, how = AutoModelForTokenClassification, {"new_head": True, "num_labels": 2}
    assert load_checkpoint(kind, WEIGHTS / "base", **how).config.num_labels == 2
    assert load_checkpoint(kind, WEIGHTS / "prm", **how).config.num_labels == 2
    folder = tmp_path / "model"
    shutil.copytree(WEIGHTS / "base", folder)
    config(num_hidden_layers=8)(folder)
    with pytest.raises(ValueError, match="lacks 18 weights"):
        load_checkpoint(kind, folder, **how)
    config(num_hidden_layers=6, hidden_size=64)(folder)
    with pytest.raises(ValueError, match="do not fit its config.json"):
        load_checkpoint(kind, folder, **how)


BASES: dict[str, tuple[Change, str]] = {
    "attention from the Hub": (config(attn_implementation="owner/kernel"), "'owner/kernel', code"),
    "far more layers": (config(num_hidden_layers=200_000), "says num_hidden_layers=200000"),
    "a pickle": (indexed("weights.bin"), "names 'weights.bin' as a file of weights"),
}


@pytest.mark.parametrize("case", BASES)
def test_the_base_of_an_adapter_is_checked_as_a_model_is(adapter: Path, tmp_path: Path, case: str):
    """The config of a base was read only by transformers, which runs a kernel that it names."""
    change, message = BASES[case]
    shutil.copytree(WEIGHTS / "base", tmp_path / "base")
    change(tmp_path / "base")
    base_is(str(tmp_path / "base"))(adapter)
    with pytest.raises(ValueError, match=message):
        LikelihoodScorer.from_pretrained(adapter)
    assert not (tmp_path / "base" / "ran").exists()
