from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from reason_decode.mining import Document, MiningConfig, default_stages, global_stages
from reason_decode.mining.stages import cut_segments

NAMES: dict[str, Any] = {"writer": "tagged", "loss_model": "tiny"}


def insert(chats: Iterable[Any]) -> Iterator[str]:
    return ("" for _ in chats)


def embed(texts: list[str]) -> list[list[float]]:
    return [[1.0, 0.0] for _ in texts]


def names(stages: Any) -> list[str]:
    return [getattr(stage, "func", stage).__name__ for stage in stages]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"segment_tokens": 0}, "got segment_tokens=0; need at least 1"),
        ({"min_cosine": 1.5}, "got min_cosine=1.5; need -1 to 1"),
        ({"min_edit_similarity": -0.1}, "need 0 to 1"),
        ({"discount": 0}, "got discount=0; need a number above 0 and at most 1"),
        ({"min_loss_delta": float("nan")}, "need a finite number of nats"),
        ({"min_loss_delta_by_source": {"web": float("inf")}}, "need a finite number of nats"),
        ({"endpoint": "http://localhost/v1"}, "name the model that is served there"),
    ],
)
def test_rejects_settings_out_of_range(setting, message):
    with pytest.raises(ValueError, match=message):
        MiningConfig(**NAMES, **setting)


def test_the_pipeline_has_the_stages_of_the_paper_in_order(tmp_path):
    reference = tmp_path / "sums.jsonl"
    reference.write_text('{"text": "1 + 1"}\n')
    config = MiningConfig(
        writer="test_mining_config:insert",
        loss_model="tiny",
        references={"sums": str(reference)},
        embedder="test_mining_config:embed",
        decontaminate_against=(str(reference),),
    )
    assert names(global_stages(config)) == ["dedup", "decontaminate"]
    assert names(default_stages(config)) == [
        *("prefilter", "extract", "faithful", "filter_rationales"),
    ]
    smallest = MiningConfig(**NAMES, dedup_threshold=1)
    assert names(global_stages(smallest)) == []
    assert names(default_stages(smallest)) == ["parse_tagged", "faithful", "filter_rationales"]


def test_settings_reach_the_stages():
    config = MiningConfig(**NAMES, min_loss_delta=0.5, min_loss_delta_by_source={"gsm8k": 1.2})
    stages: Any = default_stages(config)
    *_, gate, last = stages
    assert gate.keywords == {"min_similarity": 0.9, "ngram": 8}
    assert last.keywords["min_loss_delta"] == {"": 0.5, "gsm8k": 1.2}


def test_tagged_documents_are_not_cut():
    text = "one two three four. <BOT>five six<EOT> seven"
    documents = [Document("1", "web", text)]
    tagged = MiningConfig(**NAMES, segment_tokens=2)
    assert [x.text for x in cut_segments(documents, tagged)] == [text]
    raw = replace(tagged, writer="test_mining_config:insert")
    assert len(list(cut_segments(documents, raw))) > 1
