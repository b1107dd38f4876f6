"""Metrics by step, the best checkpoint, early stop, model cards, adapters kept, the Hub."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from reason_decode import OutcomeRewardModel, ProcessRewardModel, tiny
from reason_decode.cli import main
from reason_decode.training import (
    LabelledSolution,
    ORMConfig,
    PRMConfig,
    RankerConfig,
    model_card,
    train_orm,
    train_prm,
    train_ranker,
)
from reason_decode.training.metrics import first_error_f1

pytest.importorskip("accelerate", reason="training needs accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
BASE = tiny.WEIGHTS / "base"
ONCE: dict[str, Any] = {"num_train_epochs": 1, "batch_size": 2, "learning_rate": 1e-3}


def solution(a: int, right: bool) -> LabelledSolution:
    text = f"{a} + 1 = {a + 1 if right else a + 4}"
    return LabelledSolution(f"{a} + 1 =\n", (text,), (1 if right else -1,), correct=right)


DATA = [solution(a, right) for a in range(3) for right in (True, False)]
HELD = [solution(a, right) for a in (5, 6) for right in (True, False)]


def log(folder: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if "eval_loss" in row]


def test_the_f1_of_first_errors_by_hand():
    labels = [(1, -1), (-1, None), (1, 1), (1, None)]
    four = [LabelledSolution("p", ("a", "b"), x) for x in labels]
    # Of the wrong ones one is found, of the right ones both: 2 * (1/2) * 1 / (3/2).
    predicted = [[True, False], [True, False], [True, True], [True, False]]
    assert first_error_f1(four, predicted) == pytest.approx(2 / 3)
    assert first_error_f1(four[:2], predicted[:2]) == 0.5
    assert first_error_f1(four, [[False, False]] * 4) == 0.0


def test_metrics_by_step_and_the_best_checkpoint(tmp_path, monkeypatch):
    """A run measured its loss alone, after each epoch, and always kept the last checkpoint."""
    values = iter([0.2, 0.9, 0.4, 0.3, 0.1, 0.0])
    monkeypatch.setattr(
        "reason_decode.training.prm.step_metrics", lambda *_: {"first_error_f1": next(values)}
    )
    config = PRMConfig(
        **{**ONCE, "num_train_epochs": 2},
        **{"eval_strategy": "steps", "eval_steps": 1, "early_stopping_patience": 2},
    )
    result = train_prm(BASE, tiny.load().tokenizer, DATA, tmp_path, config, held_out=HELD)
    rows = log(tmp_path)
    assert [row["eval_first_error_f1"] for row in rows] == [0.2, 0.9, 0.4, 0.3]
    assert (result["steps"], result["first_error_f1"]) == (4, 0.9)  # stopped, and went back
    assert result["held_out_loss"] == rows[1]["eval_loss"]
    # A run that stopped early is finished: the same command does not go on with it.
    again = train_prm(BASE, tiny.load().tokenizer, DATA, tmp_path, config, held_out=HELD)
    assert again == result


@pytest.mark.slow
def test_every_reward_model_has_its_metric(tmp_path):
    tokenizer = tiny.load().tokenizer
    prm = train_prm(BASE, tokenizer, DATA, tmp_path / "prm", PRMConfig(**ONCE), held_out=HELD)
    assert 0 <= prm["first_error_f1"] <= 1 and 0 <= prm["step_accuracy"] <= 1
    orm = train_orm(BASE, tokenizer, DATA, tmp_path / "orm", ORMConfig(**ONCE), held_out=HELD)
    assert orm["accuracy"] == log(tmp_path / "orm")[-1]["eval_accuracy"]
    sides = [[x for x in DATA if x.correct is right] for right in (True, False)]
    held = [[x for x in HELD if x.correct is right] for right in (True, False)]
    config = RankerConfig(**ONCE, window=None)
    ranker = train_ranker(
        BASE,
        tokenizer,
        sides[0],
        sides[1],
        tmp_path / "ranker",
        config,
        held_out=(held[0], held[1]),
    )
    assert ranker["pair_accuracy"] == log(tmp_path / "ranker")[-1]["eval_pair_accuracy"]


@pytest.mark.parametrize("head", ["token-classification", "math-shepherd"])
def test_an_adapter_that_is_kept_scores_as_the_merged_model(tmp_path, head):
    """Adapters of reward models were always folded into the weights."""
    pytest.importorskip("peft", reason="LoRA needs peft")
    for name, merge in (("adapter", False), ("merged", True)):
        lora: dict[str, Any] = {"lora_rank": 2, "lora_alpha": 8, "target_modules": ("q_proj",)}
        config = PRMConfig(head=head, separator="\n\n", merge_lora=merge, **lora, **ONCE)
        train_prm(BASE, tiny.load().tokenizer, DATA, tmp_path / name, config)
    saved = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert (saved["lora_alpha"], saved["target_modules"]) == (8, ["q_proj"])
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    one, other = (ProcessRewardModel.from_pretrained(tmp_path / x) for x in ("adapter", "merged"))
    assert type(one) is type(other) and one.separator == other.separator == "\n\n"
    asked = [x.prompt for x in HELD], [list(x.steps) for x in HELD]
    torch.testing.assert_close(
        torch.cat(list(one.score(*asked))), torch.cat(list(other.score(*asked))), atol=1e-4, rtol=0
    )


def test_an_adapter_of_an_outcome_model_loads(tmp_path):
    pytest.importorskip("peft", reason="LoRA needs peft")
    config = ORMConfig(lora_rank=2, merge_lora=False, **ONCE)
    train_orm(BASE, tiny.load().tokenizer, DATA, tmp_path, config)
    scores = OutcomeRewardModel.from_pretrained(tmp_path).score(["5 + 1 =\n"], ["6"])
    assert 0 < float(scores[0]) < 1


@pytest.mark.slow
def test_a_model_card_is_written_and_a_users_readme_is_kept(tmp_path, monkeypatch):
    def train(folder: Path, **more: Any) -> None:
        config = PRMConfig(**ONCE, **more)
        train_prm(BASE, tiny.load().tokenizer, DATA, folder, config, held_out=HELD)

    train(tmp_path / "one")
    card = (tmp_path / "one" / "README.md").read_text()
    assert "`reason_decode.ProcessRewardModel.from_pretrained` loads it" in card
    assert "| examples | 6 |" in card and "| first_error_f1 |" in card
    assert "| batch_size | 2 |" in card
    train(tmp_path / "one", restart=True, weight_decay=0.0)  # its own card is written anew
    assert "| weight_decay | 0 |" in (tmp_path / "one" / "README.md").read_text()
    for name, more in (("two", {}), ("three", {"lora_rank": 2, "merge_lora": False})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_bytes(b"mine\r\n")
        train(tmp_path / name, **more)
        assert (tmp_path / name / "README.md").read_bytes() == b"mine\r\n"


def test_a_finished_model_is_pushed_and_a_missing_login_is_said_before(tmp_path, monkeypatch):
    pushed: list[Any] = []

    class Api:
        def create_repo(self, name: str, **how: Any) -> Any:
            pushed.append((name, how))
            return type("Url", (), {"repo_id": f"me/{name}"})

        def upload_folder(self, **how: Any) -> None:
            pushed.append((how["repo_id"], (Path(how["folder_path"]) / "config.json").is_file()))

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    config = PRMConfig(**ONCE, push_to_hub=True, hub_model_id="prm")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(ValueError, match="no token of the Hub: run `hf auth login`"):
        train_prm(BASE, tiny.load().tokenizer, DATA, tmp_path / "prm", config)
    assert not (tmp_path / "prm").exists()
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_x")
    train_prm(BASE, tiny.load().tokenizer, DATA, tmp_path / "prm", config)
    assert pushed == [("prm", {"private": True, "exist_ok": True}), ("me/prm", True)]
    assert model_card.ModelCard("a/b", config, {}).text("prm", adapter=False).count("a/b") == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"early_stopping_patience": 1}, "got 0 held-out examples .*--hold-out"),
        ({"load_best_model_at_end": True, "eval_strategy": "no"}, "eval_strategy='no'"),
        ({"metric_for_best_model": "loss"}, "set load_best_model_at_end, or drop the metric"),
        ({"hub_model_id": "x"}, "without push_to_hub"),
        ({"lora_alpha": 4}, "without LoRA matrices; set lora_rank"),
        ({"merge_lora": False}, "merge_lora=False without LoRA"),
        ({"eval_strategy": "often"}, "allowed are 'no', 'epoch', 'steps'"),
    ],
)
def test_rejects_invalid_arguments_before_training(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        config = PRMConfig(**ONCE, **options)
        train_prm(BASE, tiny.load().tokenizer, DATA, tmp_path / "x", config)
    assert not (tmp_path / "x").exists()


def test_an_unknown_metric_is_an_error_that_names_the_known_ones(tmp_path, capsys):
    rows = [{"prompt": x.prompt, "completions": x.steps, "labels": x.labels} for x in DATA + HELD]
    text = "".join(json.dumps({**x, "labels": [v == 1 for v in x["labels"]]}) + "\n" for x in rows)
    (tmp_path / "x.jsonl").write_text(text)
    argv = ["train", "prm", "--input", str(tmp_path / "x.jsonl"), "--output", str(tmp_path / "out")]
    argv += ["--hold-out", "0.5", "--load-best-model-at-end", "--metric-for-best-model", "bleu"]
    assert main(argv) == 2
    assert "allowed are loss, first_error_f1, step_accuracy" in capsys.readouterr().err


def test_a_run_that_was_killed_before_its_last_evaluation_makes_it(tmp_path):
    """A kill between the last checkpoint and its evaluation: the results had no metrics (soak)."""
    how: dict[str, Any] = {"held_out": HELD}
    whole = train_prm(
        BASE, tiny.load().tokenizer, DATA, tmp_path / "x", PRMConfig(**ONCE, save_steps=1), **how
    )
    checkpoints = tmp_path / "x" / "checkpoints"
    (checkpoints / "finished.json").unlink()
    # Its checkpoint is written before the epoch ends, so its state has no evaluation.
    state = json.loads((checkpoints / "checkpoint-3" / "trainer_state.json").read_text())
    assert not any("eval_loss" in row for row in state["log_history"])
    again = train_prm(
        BASE, tiny.load().tokenizer, DATA, tmp_path / "x", PRMConfig(**ONCE, save_steps=1), **how
    )
    assert again == whole and len(log(tmp_path / "x")) == 1
