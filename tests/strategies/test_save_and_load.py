"""Strategies as folders: saved, loaded by ``generate``, the same tokens."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TextStreamer

from reason_decode import (
    BestOfN,
    LikelihoodScorer,
    RationaleGuided,
    RationaleScorer,
    SelfConsistency,
    StepSearch,
)
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.strategies.base import Strategy
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
def test_a_saved_strategy_says_the_same_tokens(tiny: Tiny, tmp_path: Path, name: str) -> None:
    strategy = _strategies(tiny)[name]
    strategy.save_pretrained(tmp_path / name)
    saved = _generate(tiny, str(tmp_path / name), tokenizer=tiny.tokenizer, trust_remote_code=True)
    assert saved == _generate(tiny, strategy)


def test_a_folder_streams_the_steps_and_takes_arguments(
    tiny: Tiny, tmp_path: Path, capsys: Any
) -> None:
    """A callable is never handed the streamer that ``generate`` was given; a folder is."""
    _strategies(tiny)["search"].save_pretrained(tmp_path)
    streamer = TextStreamer(tiny.tokenizer, skip_special_tokens=True)
    how: dict[str, Any] = {"trust_remote_code": True, "n": 3, "beam_width": 1}
    (out,) = _generate(tiny, str(tmp_path), streamer=streamer, **how)
    said = tiny.tokenizer.decode(out, skip_special_tokens=True)
    assert str(said).strip() == capsys.readouterr().out.strip()
    direct = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=3, margin=0.5)
    assert [out] == _generate(tiny, direct)


def test_what_cannot_be_written_down_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    by_length = SelfConsistency(tokenizer=tiny.tokenizer, answers=lambda text: str(len(text)))
    with pytest.raises(ValueError, match="got answers=<function"):
        by_length.save_pretrained(tmp_path)
    shape = {**tiny.model.config.to_dict(), "num_hidden_layers": 1}
    config = type(tiny.model.config).from_dict({**shape, "_name_or_path": ""})
    unsaved = LikelihoodScorer(type(tiny.model)(config), tiny.tokenizer)
    with pytest.raises(ValueError, match="loaded from nowhere"):
        BestOfN(unsaved, tokenizer=tiny.tokenizer).save_pretrained(tmp_path)
    assert list(tmp_path.glob("custom_generate/*")) == []
