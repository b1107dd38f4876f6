import json
from dataclasses import replace

import pytest

from reason_decode import ProcessRewardModel, tiny
from reason_decode.cli import main
from reason_decode.training import (
    ActiveLearningConfig,
    LabelledSolution,
    PRMConfig,
    active,
    active_learning,
    select_convincing,
    train_prm,
)

FAST = PRMConfig(num_train_epochs=1, batch_size=8, learning_rate=1e-3)


def test_selects_mostly_convincing_wrong_answers_then_the_most_convincing():
    scores = [0.1, 0.9, 0.5, 0.8, 0.7, 0.3]
    right = [False, True, False, False, True, False]
    assert select_convincing(scores, right, 5) == [3, 2, 5, 0, 1]
    assert select_convincing(scores, right, 2, wrong_share=0.5) == [3, 1]
    assert select_convincing(scores, right, 2, wrong_share=0) == [1, 3]
    # Wrong answers that are missing are made up for by others, and more than all are all.
    assert select_convincing([0.2, 0.6], [True, True], 2) == [1, 0]
    assert sorted(select_convincing(scores, right, 99)) == list(range(6))
    assert select_convincing([], [], 3) == []


@pytest.mark.parametrize(
    ("right", "k", "share"), [([True], 1, 0.8), ([True, False], 0, 0.8), ([True, False], 1, 1.1)]
)
def test_select_convincing_rejects_invalid_arguments(right, k, share):
    with pytest.raises(ValueError, match="one verdict a score, k at least 1 and a share"):
        select_convincing([0.1, 0.2], right, k, wrong_share=share)


def pool() -> list[LabelledSolution]:
    return [
        LabelledSolution(
            f"{a} + 1 =\n", (f"{a} + 1 = {b}",), (1 if b == a + 1 else -1,), correct=b == a + 1
        )
        for a in range(3)
        for b in range(5)
    ]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
@pytest.mark.parametrize("uniform", [False, True])
def test_resumes_and_accumulates_labels(tmp_path, uniform):
    pytest.importorskip("accelerate", reason="training needs accelerate")
    config = ActiveLearningConfig(rounds=1, uniform=uniform)
    start, tokenizer = tiny.WEIGHTS / "base", tiny.load().tokenizer
    rows = active_learning(start, tokenizer, pool(), tmp_path, config, FAST)
    assert [row["solutions"] for row in rows] == [3, 9]
    config = replace(config, rounds=3)
    more = active_learning(start, tokenizer, pool(), tmp_path, config, FAST)
    assert more[:2] == rows
    assert [row["solutions"] for row in more] == [3, 9, 15, 15]
    lines = (tmp_path / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == more
    every = [index for row in more for index in row["chosen"]]
    assert sorted(every) == list(range(15))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
def test_the_share_of_wrong_solutions_holds_over_problems(tmp_path, monkeypatch):
    # Four fifths of one, rounded, is one: no right solution was ever chosen.
    pytest.importorskip("accelerate", reason="training needs accelerate")
    shares = []

    def spy(scores, right, k, *, wrong_share):
        shares.append(wrong_share)
        return select_convincing(scores, right, k, wrong_share=wrong_share)

    monkeypatch.setattr(active, "select_convincing", spy)
    start, tokenizer = tiny.WEIGHTS / "base", tiny.load().tokenizer
    config = ActiveLearningConfig(rounds=1, per_problem=1, wrong_share=2 / 3)
    active_learning(start, tokenizer, pool(), tmp_path, config, FAST)
    assert shares == [1, 0, 1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
@pytest.mark.parametrize("uniform", [False, True])
def test_equal_solutions_are_labelled_once(tmp_path, uniform):
    pytest.importorskip("accelerate", reason="training needs accelerate")
    config = ActiveLearningConfig(rounds=2, uniform=uniform)
    twice = [solution for solution in pool() for _ in range(2)]
    tokenizer = tiny.load().tokenizer
    rows = active_learning(tiny.WEIGHTS / "base", tokenizer, twice, tmp_path, config, FAST)
    assert [row["solutions"] for row in rows] == [3, 9, 15]
    chosen = [twice[index] for row in rows for index in row["chosen"]]
    assert len(set(chosen)) == 15


@pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
def test_a_selector_chooses_in_the_first_round(tmp_path):
    pytest.importorskip("accelerate", reason="training needs accelerate")
    tokenizer, chooser = tiny.load().tokenizer, tmp_path / "chooser"
    train_prm(tiny.WEIGHTS / "base", tokenizer, pool(), chooser, FAST)
    config = ActiveLearningConfig(rounds=0, wrong_share=0.5, selector=str(chooser))
    (row,) = active_learning(tiny.WEIGHTS / "base", tokenizer, pool(), tmp_path, config, FAST)
    scores = ProcessRewardModel.from_pretrained(chooser).score(
        [x.prompt for x in pool()], [list(x.steps) for x in pool()]
    )
    right = [bool(x.correct) for x in pool()]
    expected = []
    for first in range(0, 15, 5):
        each = slice(first, first + 5)
        best = select_convincing(
            [float(x[-1]) for x in scores[each]], right[each], 2, wrong_share=0.5
        )
        expected += [first + index for index in best]
    assert row["chosen"] == sorted(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uniform": True, "selector": "prm"}, "got uniform=True and selector="),
        ({"rounds": -1}, "got rounds=-1"),
        ({"per_problem": 0}, "got per_problem=0"),
        ({"wrong_share": 1.1}, "got wrong_share=1.1"),
    ],
)
def test_config_rejects_invalid_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        ActiveLearningConfig(**options)


@pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
def test_other_settings_and_other_pools_are_refused_until_restart(tmp_path):
    # The story: a run was continued with another share of wrong answers, or on another pool whose
    # indices meant other solutions, without a word.
    pytest.importorskip("accelerate", reason="training needs accelerate")
    start, tokenizer = tiny.WEIGHTS / "base", tiny.load().tokenizer
    config = ActiveLearningConfig(rounds=0)
    (row,) = active_learning(start, tokenizer, pool(), tmp_path, config, FAST)
    other = replace(config, wrong_share=0.5)
    with pytest.raises(ValueError, match="wrong_share: 0.8, now 0.5"):
        active_learning(start, tokenizer, pool(), tmp_path, other, FAST)
    with pytest.raises(ValueError, match="items: "):
        active_learning(start, tokenizer, pool()[:-1], tmp_path, config, FAST)
    again = active_learning(start, tokenizer, pool(), tmp_path, other, FAST, restart=True)
    assert [x["chosen"] for x in again] == [row["chosen"]]


@pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
def test_a_line_that_a_kill_cut_off_is_trained_again(tmp_path):
    pytest.importorskip("accelerate", reason="training needs accelerate")
    start, tokenizer = tiny.WEIGHTS / "base", tiny.load().tokenizer
    config = ActiveLearningConfig(rounds=1)
    rows = active_learning(start, tokenizer, pool(), tmp_path, config, FAST)
    path = tmp_path / "rounds.jsonl"
    path.write_text(path.read_text()[:-9])
    again = active_learning(start, tokenizer, pool(), tmp_path, config, FAST)
    assert again[0] == rows[0] and again[1]["chosen"] == rows[1]["chosen"]


def test_rejects_a_pool_of_ungraded_solutions(tmp_path):
    unknown = [LabelledSolution("p", ("s",), (1,), source="f:1")]
    with pytest.raises(ValueError, match=r"got a solution of 'p' \(f:1\)"):
        active_learning(tiny.WEIGHTS / "base", tiny.load().tokenizer, unknown, tmp_path)


@pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
def test_rounds_wait_for_labels_of_people_and_go_on_with_them(tmp_path, capsys):
    """``train active`` wanted every label beforehand: nothing was chosen before it was labelled."""
    pytest.importorskip("accelerate", reason="training needs accelerate")
    truth = {(x.prompt, x.steps): x.labels[0] == 1 for x in pool()}
    rows = [{"prompt": x.prompt, "solution": x.steps[0], "correct": x.correct} for x in pool()]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    argv = ["train", "active", "--input", str(tmp_path / "pool.jsonl"), "--output", str(out)]
    argv += ["--rounds", "1", "--hold-out", "0", "--learning-rate", "1e-3"]
    asked = []
    for number, count in ((0, 3), (1, 6)):
        path = out / f"to_label-{number}.jsonl"
        assert main(argv) == 0
        assert f"round {number} waits for labels: fill in `labels` in {path}" in (
            capsys.readouterr().out
        )
        waiting = path.read_bytes()
        assert main(argv) == 0 and path.read_bytes() == waiting  # nothing was filled in yet
        chosen = [json.loads(line) for line in waiting.decode().splitlines()]
        assert len(chosen) == count and all(row["labels"] == [None] for row in chosen)
        asked += [(row["prompt"], tuple(row["completions"])) for row in chosen]
        for row in chosen:
            row["labels"] = [truth[row["prompt"], tuple(row["completions"])]]
        path.write_text("".join(json.dumps(row) + "\n" for row in chosen))
    capsys.readouterr()
    assert main(argv) == 0
    assert "waits for labels" not in capsys.readouterr().out
    assert len(set(asked)) == 9
    done = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    assert [row["solutions"] for row in done] == [3, 9]
    # The labels of people are never written over, and a restart knows them.
    before = path.read_bytes()
    assert main([*argv, "--restart"]) == 0 and path.read_bytes() == before


@pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
def test_rounds_may_go_on_without_solutions_that_nobody_labels(tmp_path):
    pytest.importorskip("accelerate", reason="training needs accelerate")
    labelled = pool()
    bare = [replace(x, labels=(None,)) for x in labelled]
    start, tokenizer = tiny.WEIGHTS / "base", tiny.load().tokenizer
    config = ActiveLearningConfig(rounds=0, skip_unlabelled=True)
    assert active_learning(start, tokenizer, bare, tmp_path, config, FAST) == []
    asked = (tmp_path / "to_label-0.jsonl").read_text().splitlines()
    keys = {json.loads(line)["prompt"] for line in asked[1:]}
    known = [x for x in labelled if x.prompt in keys]
    (row,) = active_learning(start, tokenizer, bare, tmp_path, config, FAST, labelled=known)
    assert row["solutions"] == 2 and len(row["chosen"]) == 3
