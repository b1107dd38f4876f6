from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from examples.tiny.batch import VERDICTS
from reason_decode import tiny as package
from reason_decode.tiny import WEIGHTS, Tiny


def test_weights_have_the_expected_size_and_file_types() -> None:
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    # Five models and three adapters in float16.
    assert sum(path.stat().st_size for path in files) < 5 * 5.5e6 + 2.6e6
    assert {path.suffix for path in files} <= {".safetensors", ".json", ".md", ".jinja"}


def test_plain_transformers_loads_the_checkpoints_in_float32() -> None:
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS / "base")
    prm = AutoModelForTokenClassification.from_pretrained(WEIGHTS / "prm")
    orm = AutoModelForSequenceClassification.from_pretrained(WEIGHTS / "orm")
    assert model.dtype == prm.dtype == orm.dtype == torch.float32
    assert prm.config.id2label == dict(enumerate(VERDICTS))


@pytest.mark.parametrize("text", ["1234", "héllo ∑ 数\t\x00", "a\n\n b", " 12 - -3/4", "😀" * 3])
def test_decode_inverts_encode_for_any_text(tiny: Tiny, text: str) -> None:
    ids = tiny.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tiny.tokenizer.decode(ids) == text


def test_digits_and_newlines_are_single_tokens(tiny: Tiny) -> None:
    for text, count in (("123456", 6), (" 42 7", 3), ("1\n2\n\n3", 6)):
        assert len(tiny.tokenizer(text, add_special_tokens=False)["input_ids"]) == count


def test_missing_weights_name_the_training_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "WEIGHTS", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"examples\.tiny\.train base"):
        package.load()


def test_missing_weights_of_the_rationale_model_name_the_training_command(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "WEIGHTS", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"examples\.tiny\.train_rationalyst --out"):
        _ = replace(tiny).rationalyst


def test_the_ranker_scores_a_false_line_lower(tiny: Tiny) -> None:
    start = "10 - 4 = 6 (left: 5 6 6)\n5 * 6 = 30 (left: 6 30)\n"
    right = f"{start}30 + 6 = 36 (left: 36)\nAnswer: 5 * 6 + (10 - 4) = 36"
    wrong = f"{start}30 - 6 = 36 (left: 36)\nAnswer: 5 * 6 - (10 - 4) = 36"
    high, low = tiny.ranker.score(["Make 36 from 4 5 6 10.\n"] * 2, [right, wrong])
    assert high > 0.8 and low < 0.2


def test_missing_weights_of_the_ranker_name_the_training_command(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "WEIGHTS", tmp_path)
    with pytest.raises(FileNotFoundError, match="reason-decode train ranker"):
        _ = replace(tiny).ranker


def test_the_rationale_model_finds_the_last_operation_and_scores_it_high(tiny: Tiny) -> None:
    """The target 24 is in no training problem."""
    start = "Make 24 from 4 5 6 10.\n10 - 4 = 6 (left: 5 6 6)\n5 * 6 = 30 (left: 6 30)\n"
    session = tiny.rationalyst.start_session([start])
    assert session.before_round() == ["(6 30: 36 24 180 5). 24 = 30 - 6."]
    right, wrong = session.score([[["30 - 6 = 24 (left: 24)"], ["30 + 6 = 36 (left: 36)"]]])[0]
    assert right.exp() > 0.9 and right > wrong + 0.5


def test_the_verifier_scores_a_mistake_low_at_its_line(tiny: Tiny) -> None:
    """The target 24 is in no training problem."""
    prompt = "Make 24 from 4 5 6 10.\n"
    right = "10 - 4 = 6 (left: 5 6 6)\n5 * 6 = 30 (left: 6 30)\n30 - 6 = 24 (left: 24)"
    slip = right.replace("= 30 (left: 6 30)", "= 35 (left: 6 35)")
    lost = right.replace("(left: 5 6 6)", "(left: 6 6)")
    scores = tiny.prm.score([prompt] * 3, [right, slip, lost])
    assert scores[1][1] < 0.1 < 0.5 < scores[0][1]
    assert scores[2][0] < scores[0][0] / 10


def test_scorers_of_whole_solutions_prefer_the_right_one(
    tiny: Tiny,
) -> None:
    prompt = "Make 24 from 4 5 6 10.\n"
    right = (
        "10 - 4 = 6 (left: 5 6 6)\n5 * 6 = 30 (left: 6 30)\n30 - 6 = 24 (left: 24)\n"
        "Answer: 5 * 6 - (10 - 4) = 24"
    )
    wrong = [right.replace("30 - 6 = 24", "30 - 6 = 25"), right.replace("5 * 6 - (", "5 + 6 - (")]
    first, *others = [x.prod() for x in tiny.orm.score([prompt] * 3, [right, *wrong])]
    assert all(first > x for x in others)
    first, *others = [x.prod() for x in tiny.verifier.score([prompt] * 3, [right, *wrong])]
    assert all(first > x for x in others)
