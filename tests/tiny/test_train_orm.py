import json
from pathlib import Path

import pytest

from reason_decode import OutcomeRewardModel
from reason_decode.tiny import WEIGHTS, sampled, train_orm
from reason_decode.training import Recipe

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' and torch's own


def test_solutions_are_sampled_once_graded_and_learnt_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    share = sampled._WHOLE._replace(rows=16)
    monkeypatch.setattr(sampled, "_WHOLE", share)
    recipe = Recipe(epochs=1, batch=8)
    train_orm.run(tmp_path, WEIGHTS / "base", batches=1, recipe=recipe)
    drawn = (tmp_path / "whole.jsonl").read_text()
    rows = [json.loads(line) for line in drawn.splitlines()]
    assert 0 < len(rows) <= 16 and {row["right"] for row in rows} <= {True, False}
    (score,) = OutcomeRewardModel.from_pretrained(tmp_path / "model").score(
        [rows[0]["prompt"]], [rows[0]["steps"]]
    )
    assert 0 <= float(score[0]) <= 1
    train_orm.run(tmp_path, WEIGHTS / "base", batches=1, recipe=recipe)
    assert (tmp_path / "whole.jsonl").read_text() == drawn
