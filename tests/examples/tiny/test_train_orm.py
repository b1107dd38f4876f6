import json
from pathlib import Path

import pytest

from examples.tiny import countdown_problems, sampled_solutions, train_orm
from examples.tiny.countdown_solutions import WorkedSolution
from reason_decode import OutcomeRewardModel
from reason_decode.tasks import arithmetic, countdown
from reason_decode.tiny import WEIGHTS
from reason_decode.training import ORMConfig

pytest.importorskip("accelerate", reason="training needs accelerate")
HELD_OUT = f"Make {countdown_problems.HELD_OUT_TARGET} from"
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' and torch's own


@pytest.mark.slow
def test_solutions_are_sampled_once_graded_and_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    share = sampled_solutions._WHOLE._replace(rows=16)
    monkeypatch.setattr(sampled_solutions, "_WHOLE", share)
    config = ORMConfig(num_train_epochs=1, batch_size=8)
    train_orm.run(
        tmp_path, WEIGHTS / "base", WEIGHTS / "prm", batches=1, generated=10, config=config
    )
    drawn = (tmp_path / "whole.jsonl").read_text()
    rows = [json.loads(line) for line in drawn.splitlines()]
    assert 0 < len(rows) <= 16 and {row["right"] for row in rows} <= {True, False}
    (score,) = OutcomeRewardModel.from_pretrained(tmp_path / "model").score(
        [rows[0]["prompt"]], [rows[0]["steps"]]
    )
    assert 0 <= float(score[0]) <= 1
    train_orm.run(
        tmp_path, WEIGHTS / "base", WEIGHTS / "prm", batches=1, generated=10, config=config
    )
    assert (tmp_path / "whole.jsonl").read_text() == drawn


def test_generated_solutions_are_whole_and_every_other_one_is_wrong():
    solutions = list(train_orm.generate_solutions(seed=0, count=200))
    assert [x.correct for x in solutions] == [True, False] * 100
    for x in solutions:
        problem = countdown.parse_prompt(x.prompt)
        assert problem is not None and len(x.steps) == len(problem[0])
        assert HELD_OUT not in x.prompt
    assert solutions == list(train_orm.generate_solutions(seed=0, count=200))


def test_a_sum_cut_off_by_the_token_budget_is_wrong(monkeypatch: pytest.MonkeyPatch):
    """Of 666 sums that the first tiny ORM learnt as right, 58 were cut off before their answer."""
    prompt = arithmetic.format_prompt("((1 + 2) * (3 - 4))")
    lines = [str(line) for line in arithmetic.solve("((1 + 2) * (3 - 4))")]
    sampled = [
        (WorkedSolution(prompt, (), ()), lines),
        (WorkedSolution(prompt, (), ()), lines[:-1]),
    ]
    monkeypatch.setattr(sampled_solutions, "_continuations", lambda *_: iter(sampled))
    drawn = sampled_solutions.sample_whole(None, None, seed=0, batches=1)  # pyright: ignore[reportArgumentType]
    assert [right for _, _, right in drawn] == [True, False]
