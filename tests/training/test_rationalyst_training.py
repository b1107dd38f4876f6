import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from examples.tiny.model import model_config
from reason_decode import RationaleScorer, tiny
from reason_decode.io.jsonl import ReadReport
from reason_decode.scorers import RationaleWriter
from reason_decode.tiny import Tiny
from reason_decode.training import (
    RationaleRow,
    TrainingConfig,
    rationale_examples,
    read_rationales,
    split_documents,
    train_rationalyst,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
RECORDS = [
    RationaleRow("a", "sums", "1 + 2 + 3 =\n", "Add.", "1 + 2 = 3\n"),
    RationaleRow("a", "sums", "1 + 2 + 3 =\n1 + 2 = 3\n", "Go on.", "3 + 3 = 6\n"),
    RationaleRow("b", "products", "2 * 3 * 4 =\n", "Multiply.", "2 * 3 = 6\n"),
]


def scorer(tiny: Tiny, chat: bool) -> RationaleScorer:
    writer = RationaleWriter(tiny.model, tiny.tokenizer, chat=chat)
    return RationaleScorer(writer, chat=chat)


@pytest.mark.parametrize("chat", [False, True])
def test_what_is_learnt_is_laid_out_as_it_is_asked_for(tiny: Tiny, chat: bool):
    asks, words = scorer(tiny, chat), tiny.tokenizer
    for record in RECORDS:
        ((example,), _) = rationale_examples([record], asks)
        asked = asks.writer.encode(record.preceding, ()).ids
        # The session lays the same text out as prompt and steps.
        prompt, *steps = record.preceding.splitlines()
        assert asks.writer.encode(f"{prompt}\n", steps).ids == asked
        assert example.ids[: len(asked)] == asked
        assert example.places == [*range(len(asked) - 1, len(example.ids) - 1)]
        assert example.classes == example.ids[len(asked) :]
        end = "<eos>" if chat else "<EOT>"
        assert words.decode(example.classes) == record.rationale + end


@pytest.mark.parametrize("chat", [False, True])
def test_what_follows_is_laid_out_as_it_is_judged(tiny: Tiny, chat: bool):
    judges = scorer(tiny, chat)
    for record in RECORDS:
        step = record.following.rstrip("\n")
        told, bare = rationale_examples([record], judges, learn="following", bare=1.0)[0]
        for example, said in ((told, record.rationale), (bare, None)):
            layout = judges.encode(record.preceding, [step], said)
            assert example.ids == layout.ids and example.places == [*layout.spans[0]]
            assert tiny.tokenizer.decode(example.classes) == record.following


def test_plain_text_is_learnt_from_in_one_go_and_chats_are_not(tiny: Tiny):
    for chat, count in ((False, 1), (True, 2)):
        both, _ = rationale_examples(RECORDS[:1], scorer(tiny, chat), learn="both")
        assert len(both) == count
        apart = [
            x.classes
            for learn in ("rationale", "following")
            for x in rationale_examples(RECORDS[:1], scorer(tiny, chat), learn=learn)[0]
        ]
        assert [c for x in both for c in x.classes] == [c for x in apart for c in x]


def test_a_share_is_learnt_from_without_rationales_too(tiny: Tiny):
    found, _ = rationale_examples(RECORDS * 4, scorer(tiny, False), learn="following", bare=0.25)
    assert len(found) == 15


@pytest.mark.parametrize("chat", [False, True])
def test_long_texts_lose_their_beginning_and_are_counted(tiny: Tiny, chat: bool):
    asks = scorer(tiny, chat)
    long = RationaleRow("c", "sums", "9 + " * 200 + "1 =\n", "Add.", "9 + 9 = 18\n")
    examples, cut = rationale_examples([long, RECORDS[0]], asks, max_tokens=60)
    assert cut == 1 and max(len(x.ids) for x in examples) <= 60
    text = str(tiny.tokenizer.decode(examples[0].ids, skip_special_tokens=True))
    assert len(examples[0].ids) > 55 and "9 + 9 + 1 =\n" in text and "Add." in text
    # What would not fit even without any text is left to fit(), which counts it.
    examples, cut = rationale_examples([long], asks, max_tokens=4)
    assert cut == 0 and len(examples[0].ids) > 4


def test_documents_are_on_one_side():
    many = [RationaleRow(str(k // 3), "s", "a", "b", str(k)) for k in range(60)]
    kept, held = split_documents(many, 0.3)
    assert kept and held and len(kept) + len(held) == 60
    assert not {x.id for x in kept} & {x.id for x in held}
    assert split_documents(reversed(many), 0.3)[1] == held[::-1]


def test_rows_are_rationales_or_documents_and_the_rest_is_set_aside(tmp_path: Path):
    rows = [
        {
            "id": "1",
            "source": "s",
            "preceding": "a",
            "rationale": "b",
            "delta": 1.5,
            "following": None,
        },
        {"id": 2, "source": "s", "texts": ["a", "b", "c"], "rationales": ["x", "y"]},
        {"preceding": "a", "rationale": " "},
        {"preceding": "a"},
        {"texts": ["a"], "rationales": ["x"]},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    report = ReadReport()
    assert read_rationales(path, report) == [
        RationaleRow("1", "s", "a", "b", "", 1.5),
        RationaleRow("2", "s", "a", "x", "b"),
        RationaleRow("2", "s", "ab", "y", "c"),
    ]
    assert [x.row for x in report.rejected] == [3, 4, 5, 6]
    path.write_text("{}\n")
    with pytest.raises(ValueError, match="holds no rationale"):
        read_rationales(path)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A random model that learns three lines by heart in no time, with the tiny tokenizer."""
    words = tiny.load().tokenizer
    words.chat_template = None
    shape = model_config(len(words))
    shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers = 32, 64, 2
    torch.manual_seed(0)
    LlamaForCausalLM(shape).save_pretrained(tmp_path / "small")
    words.save_pretrained(tmp_path / "small")
    return tmp_path / "small"


FAST = TrainingConfig(epochs=120, batch=3, learning_rate=1e-2, warmup=0, save_steps=1000)


def written(folder: Path) -> list[str]:
    saved = RationaleScorer.from_pretrained(folder, max_new_tokens=24)
    return saved.start_session([x.preceding for x in RECORDS]).before_round()


def test_a_model_writes_what_it_learnt(small: Path, tmp_path: Path):
    pytest.importorskip("accelerate", reason="training needs accelerate")
    words: Any = RationaleScorer.from_pretrained(small).tokenizer
    told = train_rationalyst(small, words, RECORDS, tmp_path / "out", learn="both", recipe=FAST)
    assert told["examples"] == 3 and told["cut"] == 0 and told["loss"] < 0.2
    assert written(tmp_path / "out") == ["Add.", "Go on.", "Multiply."]


def test_an_adapter_is_saved_by_itself_or_folded_in(small: Path, tmp_path: Path):
    pytest.importorskip("accelerate", reason="training needs accelerate")
    pytest.importorskip("peft", reason="LoRA needs peft")
    words: Any = RationaleScorer.from_pretrained(small).tokenizer
    for fold in (True, False):
        out = tmp_path / str(fold)
        train_rationalyst(small, words, RECORDS, out, lora=8, fold=fold, recipe=FAST)
        assert (out / "adapter_model.safetensors").exists() is not fold
    assert written(tmp_path / "True") == written(tmp_path / "False")
    assert written(tmp_path / "True") != written(small)


def test_what_cannot_be_is_said_first(small: Path, tmp_path: Path):
    words: Any = RationaleScorer.from_pretrained(small).tokenizer
    cases: list[tuple[dict[str, Any], str]] = [
        ({"learn": "x"}, "allowed are rationale, following, both"),
        ({"fold": False}, "without LoRA matrices"),
        ({"bare": 2}, "got bare=2"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            train_rationalyst(small, words, RECORDS, tmp_path / "x", **options)
