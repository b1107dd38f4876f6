import json
from pathlib import Path

import pytest

from examples.tiny import countdown_problems, sampled, train_orm
from examples.tiny.countdown_work import Work
from reason_decode import OutcomeRewardModel
from reason_decode.tasks import arithmetic, countdown
from reason_decode.tiny import WEIGHTS
from reason_decode.training import TrainingConfig

pytest.importorskip("accelerate", reason="training needs accelerate")
HELD_OUT = f"Make {countdown_problems.HELD_OUT_TARGET} from"
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' and torch's own


def test_solutions_are_sampled_once_graded_and_learnt_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    share = sampled._WHOLE._replace(rows=16)
    monkeypatch.setattr(sampled, "_WHOLE", share)
    recipe = TrainingConfig(epochs=1, batch=8)
    train_orm.run(tmp_path, WEIGHTS / "base", WEIGHTS / "prm", batches=1, count=10, recipe=recipe)
    drawn = (tmp_path / "whole.jsonl").read_text()
    rows = [json.loads(line) for line in drawn.splitlines()]
    assert 0 < len(rows) <= 16 and {row["right"] for row in rows} <= {True, False}
    (score,) = OutcomeRewardModel.from_pretrained(tmp_path / "model").score(
        [rows[0]["prompt"]], [rows[0]["steps"]]
    )
    assert 0 <= float(score[0]) <= 1
    train_orm.run(tmp_path, WEIGHTS / "base", WEIGHTS / "prm", batches=1, count=10, recipe=recipe)
    assert (tmp_path / "whole.jsonl").read_text() == drawn


def test_made_solutions_are_whole_and_half_of_them_wrong():
    solutions = list(train_orm.made(seed=0, count=200))
    assert [x.correct for x in solutions] == [True, False] * 100
    for x in solutions:
        problem = countdown.parse_prompt(x.prompt)
        assert problem is not None and len(x.steps) == len(problem[0])
        assert HELD_OUT not in x.prompt
    assert solutions == list(train_orm.made(seed=0, count=200))


def test_a_sum_that_the_budget_cut_off_is_not_right(monkeypatch: pytest.MonkeyPatch):
    """58 of 666 sums that the first tiny ORM learnt from were right as far as they went."""
    prompt = arithmetic.format_prompt("((1 + 2) * (3 - 4))")
    lines = [str(line) for line in arithmetic.solve("((1 + 2) * (3 - 4))")]
    said = [(Work(prompt, (), ()), lines), (Work(prompt, (), ()), lines[:-1])]
    monkeypatch.setattr(sampled, "_continued", lambda *_: iter(said))
    drawn = sampled.draw_whole(None, None, seed=0, batches=1)  # pyright: ignore[reportArgumentType]
    assert [right for _, _, right in drawn] == [True, False]
