import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

from examples.tiny.model import model_config
from reason_decode import RationaleScorer, tiny
from reason_decode.io.read_report import ReadReport
from reason_decode.scorers import RationaleWriter
from reason_decode.tiny import Tiny
from reason_decode.training import (
    RationaleRow,
    RationalystConfig,
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
def test_rationales_are_encoded_as_they_will_be_written(tiny: Tiny, chat: bool):
    writer, tokenizer = scorer(tiny, chat), tiny.tokenizer
    for record in RECORDS:
        ((example,), _) = rationale_examples([record], writer)
        asked = writer.writer.encode(record.preceding, ()).ids
        # A session encodes the same text, given as prompt and steps.
        prompt, *steps = record.preceding.splitlines()
        assert writer.writer.encode(f"{prompt}\n", steps).ids == asked
        assert example.ids[: len(asked)] == asked
        assert example.positions == [*range(len(asked) - 1, len(example.ids) - 1)]
        assert example.labels == example.ids[len(asked) :]
        end = "<eos>" if chat else "<EOT>"
        assert tokenizer.decode(example.labels) == record.rationale + end


@pytest.mark.parametrize("chat", [False, True])
def test_following_text_is_encoded_as_it_will_be_scored(tiny: Tiny, chat: bool):
    encoder = scorer(tiny, chat)
    for record in RECORDS:
        step = record.following.rstrip("\n")
        with_rationale, without = rationale_examples(
            [record], encoder, loss_on="following", share_without_rationale=1.0
        )[0]
        for example, rationale in ((with_rationale, record.rationale), (without, None)):
            encoded = encoder.encode(record.preceding, [step], rationale)
            assert example.ids == encoded.ids and example.positions == [*encoded.spans[0]]
            assert tiny.tokenizer.decode(example.labels) == record.following


def test_plain_text_makes_one_example_and_chats_make_two(tiny: Tiny):
    for chat, count in ((False, 1), (True, 2)):
        both, _ = rationale_examples(RECORDS[:1], scorer(tiny, chat), loss_on="both")
        assert len(both) == count
        apart = [
            x.labels
            for part in ("rationale", "following")
            for x in rationale_examples(RECORDS[:1], scorer(tiny, chat), loss_on=part)[0]
        ]
        assert [c for x in both for c in x.labels] == [c for x in apart for c in x]


def test_a_share_is_also_learned_without_rationales(tiny: Tiny):
    writes = scorer(tiny, False)
    found, _ = rationale_examples(
        RECORDS * 4, writes, loss_on="following", share_without_rationale=0.25
    )
    assert len(found) == 15


@pytest.mark.parametrize("chat", [False, True])
def test_long_texts_lose_their_beginning_and_are_counted(tiny: Tiny, chat: bool):
    writer = scorer(tiny, chat)
    long = RationaleRow("c", "sums", "9 + " * 200 + "1 =\n", "Add.", "9 + 9 = 18\n")
    examples, cut = rationale_examples([long, RECORDS[0]], writer, max_length=60)
    assert cut == 1 and max(len(x.ids) for x in examples) <= 60
    text = str(tiny.tokenizer.decode(examples[0].ids, skip_special_tokens=True))
    assert len(examples[0].ids) > 55 and "9 + 9 + 1 =\n" in text and "Add." in text
    # What would not fit even without any text is left to the trainer, which counts it.
    examples, cut = rationale_examples([long], writer, max_length=4)
    assert cut == 0 and len(examples[0].ids) > 4


def test_documents_are_held_out_as_a_whole():
    many = [RationaleRow(str(k // 3), "s", "a", "b", str(k)) for k in range(60)]
    kept, held = split_documents(many, 0.3)
    assert kept and held and len(kept) + len(held) == 60
    assert not {x.id for x in kept} & {x.id for x in held}
    assert split_documents(reversed(many), 0.3)[1] == held[::-1]


def test_reads_rows_of_rationales_and_of_documents(tmp_path: Path):
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
    tokenizer = tiny.load().tokenizer
    tokenizer.chat_template = None
    shape = model_config(len(tokenizer))
    shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers = 32, 64, 2
    torch.manual_seed(0)
    LlamaForCausalLM(shape).save_pretrained(tmp_path / "small")
    tokenizer.save_pretrained(tmp_path / "small")
    return tmp_path / "small"


FAST: dict[str, Any] = {
    **{"num_train_epochs": 120, "batch_size": 3, "learning_rate": 1e-2},
    **{"warmup_steps": 0, "save_steps": 1000},
}


def written(folder: Path) -> list[str]:
    saved = RationaleScorer.from_pretrained(folder, max_new_tokens=24)
    texts = saved.start_session([x.preceding for x in RECORDS]).before_round()
    return [text or "" for text in texts]


@pytest.mark.slow
def test_a_model_writes_the_rationales_it_learned(small: Path, tmp_path: Path):
    pytest.importorskip("accelerate", reason="training needs accelerate")
    tokenizer: Any = RationaleScorer.from_pretrained(small).tokenizer
    config = RationalystConfig(loss_on="both", **FAST)
    result = train_rationalyst(small, tokenizer, RECORDS, tmp_path / "out", config)
    assert result["examples"] == 3 and result["cut"] == 0 and result["loss"] < 0.2
    assert written(tmp_path / "out") == ["Add.", "Go on.", "Multiply."]


@pytest.mark.slow
def test_an_adapter_is_saved_alone_or_merged(small: Path, tmp_path: Path):
    pytest.importorskip("accelerate", reason="training needs accelerate")
    pytest.importorskip("peft", reason="LoRA needs peft")
    tokenizer: Any = RationaleScorer.from_pretrained(small).tokenizer
    for merge in (True, False):
        out = tmp_path / str(merge)
        config = RationalystConfig(lora_rank=8, merge_lora=merge, **FAST)
        train_rationalyst(small, tokenizer, RECORDS, out, config)
        assert (out / "adapter_model.safetensors").exists() is not merge
    assert written(tmp_path / "True") == written(tmp_path / "False")
    assert written(tmp_path / "True") != written(small)


def test_rejects_invalid_settings():
    cases: list[tuple[dict[str, Any], str]] = [
        ({"loss_on": "x"}, "allowed are 'rationale', 'following', 'both'"),
        ({"merge_lora": False}, "without LoRA matrices"),
        ({"share_without_rationale": 2}, "got share_without_rationale=2"),
    ]
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            RationalystConfig(**options)
