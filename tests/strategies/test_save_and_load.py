"""Strategies saved as folders and loaded by ``generate``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TextStreamer

from reason_decode import (
    BestOfN,
    LikelihoodScorer,
    ParticleFilter,
    RationaleGuided,
    RationaleScorer,
    Scorer,
    SelfConsistency,
    StepSearch,
)
from reason_decode.core.class_paths import import_path
from reason_decode.scorers import NGramRanker, RationaleWriter, ScoreSpace, to_steps
from reason_decode.strategies.base import Strategy
from reason_decode.strategies.load import from_settings
from reason_decode.tiny import Tiny

PROMPT = "((1 + 2) * (3 - 4)) =\n"


pytestmark = pytest.mark.usefixtures("own_modules")


def _strategies(tiny: Tiny) -> dict[str, Strategy]:
    words = tiny.tokenizer
    likely = LikelihoodScorer(tiny.model, words, chat=False, per_step=False)
    rationalyst = RationaleScorer(RationaleWriter(tiny.model, words, max_new_tokens=4))
    return {
        "best-of-n": BestOfN(tiny.prm, tokenizer=words, n=3, reduce="min"),
        "vote": SelfConsistency(tokenizer=words, n=3, scorer=likely, vote_weighting="1+s"),
        "particles": ParticleFilter(tiny.prm, tokenizer=words, n=3, temperature=0.5),
        "search": StepSearch(tiny.prm, tokenizer=words, n=2, beam_width=2, margin=0.5),
        "rationales": RationaleGuided(rationalyst, tokenizer=words, n=2, max_steps=3),
    }


def _generate(tiny: Tiny, strategy: Any, **how: Any) -> list[list[int]]:
    inputs = tiny.tokenizer([PROMPT], return_tensors="pt")
    torch.manual_seed(0)
    return tiny.model.generate(
        **inputs, do_sample=True, max_new_tokens=60, custom_generate=strategy, **how
    ).tolist()


@pytest.mark.parametrize("name", ["best-of-n", "vote", "search", "rationales"])
def test_a_saved_strategy_returns_the_same_tokens(tiny: Tiny, tmp_path: Path, name: str) -> None:
    strategy = _strategies(tiny)[name]
    strategy.save_pretrained(tmp_path / name)
    saved = _generate(tiny, str(tmp_path / name), tokenizer=tiny.tokenizer, trust_remote_code=True)
    assert saved == _generate(tiny, strategy)


def test_a_folder_streams_the_steps_and_takes_arguments(
    tiny: Tiny, tmp_path: Path, capsys: Any
) -> None:
    """``generate`` passes ``streamer=`` to a folder's code, though not to a callable."""
    _strategies(tiny)["search"].save_pretrained(tmp_path)
    streamer = TextStreamer(tiny.tokenizer, skip_special_tokens=True)
    how: dict[str, Any] = {"trust_remote_code": True, "n": 3, "beam_width": 1}
    (out,) = _generate(tiny, str(tmp_path), streamer=streamer, **how)
    said = tiny.tokenizer.decode(out, skip_special_tokens=True)
    assert str(said).strip() == capsys.readouterr().out.strip()
    direct = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=3, margin=0.5)
    assert [out] == _generate(tiny, direct)


class MySearch(StepSearch):
    """A user's strategy at the top level of an importable module."""


class MyScorer(Scorer):
    """A user's scorer: steps near a length score higher."""

    score_space: ScoreSpace = "reward"

    def __init__(self, length: int = 20) -> None:
        self.length = length

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[torch.Tensor]:
        steps = to_steps(solutions, self.splitter)
        return [torch.tensor([-abs(len(x) - self.length) / 9 for x in one]) for one in steps]

    def settings(self) -> dict[str, Any]:
        return {"length": self.length}


def test_classes_of_a_users_module_are_saved_and_loaded(tiny: Tiny, tmp_path: Path) -> None:
    """A saved subclass could not be loaded: "which this version does not know ... Upgrade"."""
    strategy = MySearch(MyScorer(9), tokenizer=tiny.tokenizer, n=3, beam_width=2)
    strategy.save_pretrained(tmp_path)
    saved = _generate(tiny, str(tmp_path), tokenizer=tiny.tokenizer, trust_remote_code=True)
    assert saved == _generate(tiny, strategy)
    code = (tmp_path / "custom_generate" / "generate.py").read_text()
    assert "MySearch" in code and "test_save_and_load:MyScorer" in code


def test_our_classes_are_named_by_their_public_module() -> None:
    """Folders stay valid when private modules move."""
    assert import_path(BestOfN) == "reason_decode:BestOfN"
    assert import_path(NGramRanker) == "reason_decode.scorers:NGramRanker"


def test_classes_that_no_other_process_can_import_are_refused_when_saved(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Local(StepSearch):
        """Defined in a function."""

    monkeypatch.setattr(MySearch, "__module__", "__main__")
    for kind in (Local, MySearch):
        with pytest.raises(ValueError, match="could not be imported when the folder is loaded"):
            kind(tiny.prm, tokenizer=tiny.tokenizer).save_pretrained(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_strategy_that_its_fields_do_not_rebuild_is_refused_when_saved(
    tiny: Tiny, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="that its fields do not rebuild .*'tokenizer'"):
        Rebuilt(tiny).save_pretrained(tmp_path)


class Rebuilt(StepSearch):
    """Its constructor takes something else than its fields."""

    def __init__(self, fixed: Tiny) -> None:
        super().__init__(fixed.prm, tokenizer=fixed.tokenizer)


def test_a_class_that_is_missing_where_the_folder_is_loaded_is_named(tiny: Tiny) -> None:
    for path, message in (
        ("nowhere.at.all:Mine", "cannot be imported here .*install or upgrade the package"),
        ("reason_decode:Later", "is no Strategy here; upgrade: pip install --upgrade reason-d"),
        ("pathlib:Path", "is no Strategy here"),
    ):
        with pytest.raises(ValueError, match=message):
            from_settings({"class": path, "arguments": {}}, tiny.tokenizer)


def test_an_argument_that_the_strategy_lacks_is_named(tiny: Tiny) -> None:
    """An edited folder ended in a TypeError of ``__init__``."""
    settings = {"class": "reason_decode:SelfConsistency", "arguments": {"n": 2, "odd": 1}}
    with pytest.raises(ValueError, match="got the argument 'odd' in a saved SelfConsistency"):
        from_settings(settings, tiny.tokenizer)


def test_saving_leaves_the_readme_of_others_alone(tiny: Tiny, tmp_path: Path) -> None:
    """``save_pretrained`` into a model's folder overwrote the model's card."""
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=3)
    readme = tmp_path / "README.md"
    readme.write_text("# My model\n")
    strategy.save_pretrained(tmp_path)
    assert readme.read_text() == "# My model\n"
    readme.unlink()
    strategy.save_pretrained(tmp_path)
    assert readme.read_text().startswith("---\nlibrary_name") and "# BestOfN" in readme.read_text()
    # A card of ours follows what is saved.
    SelfConsistency(tokenizer=tiny.tokenizer).save_pretrained(tmp_path)
    assert "# SelfConsistency" in readme.read_text()


def test_saving_keeps_code_and_requirements_of_others(tiny: Tiny, tmp_path: Path) -> None:
    strategy = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=3)
    folder = tmp_path / "custom_generate"
    folder.mkdir()
    (folder / "requirements.txt").write_text("numpy\n")
    strategy.save_pretrained(tmp_path)
    strategy.save_pretrained(tmp_path)
    assert (folder / "requirements.txt").read_text() == "numpy\nreason-decode\n"
    (folder / "generate.py").write_text("def generate(model): ...\n")
    with pytest.raises(FileExistsError, match="not written by reason-decode; name another folder"):
        strategy.save_pretrained(tmp_path)
    assert (folder / "generate.py").read_text() == "def generate(model): ...\n"


def test_a_ranker_is_loaded_with_the_vote_that_it_weights(tiny: Tiny, tmp_path: Path) -> None:
    """Loading passed it a dtype, which it has no use for, and ended in a TypeError."""
    ranker = NGramRanker(torch.linspace(-1, 1, 64))
    ranker.save_pretrained(tmp_path / "ranker")
    strategy = SelfConsistency(tokenizer=tiny.tokenizer, n=3, scorer=ranker)
    strategy.save_pretrained(tmp_path / "vote")
    how: dict[str, Any] = {"tokenizer": tiny.tokenizer, "trust_remote_code": True}
    assert _generate(tiny, str(tmp_path / "vote"), **how) == _generate(tiny, strategy)


def test_settings_of_a_scorer_that_json_cannot_hold_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    length: Any = {3}
    strategy = BestOfN(MyScorer(length), tokenizer=tiny.tokenizer)
    with pytest.raises(ValueError, match=r"settings\(\) of MyScorer that cannot be saved"):
        strategy.save_pretrained(tmp_path)


def test_arguments_that_cannot_be_saved_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    by_length = SelfConsistency(
        tokenizer=tiny.tokenizer, extract_answer=lambda text: str(len(text))
    )
    with pytest.raises(ValueError, match="got extract_answer=<function"):
        by_length.save_pretrained(tmp_path)
    shape = {**tiny.model.config.to_dict(), "num_hidden_layers": 1}
    config = type(tiny.model.config).from_dict({**shape, "_name_or_path": ""})
    unsaved = LikelihoodScorer(type(tiny.model)(config), tiny.tokenizer)
    with pytest.raises(ValueError, match="loaded from nowhere"):
        BestOfN(unsaved, tokenizer=tiny.tokenizer).save_pretrained(tmp_path)
    assert list(tmp_path.glob("custom_generate/*")) == []
