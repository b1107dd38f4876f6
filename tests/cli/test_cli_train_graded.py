import json
from typing import Any

import pytest
from transformers import AutoModelForCausalLM

from reason_decode.cli import main
from tests.random_models import save_llama

pytest.importorskip("accelerate", reason="training needs accelerate")
pytest.importorskip("peft", reason="adapters need peft")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own

ROWS = [
    {"prompt": f"{a} + 1 =", "samples": [f"The answer is {b}." for b in (a, a + 1)] + ["Hm."]}
    | {"answer": str(a + 1)}
    for a in range(6)
]


def test_trains_negative_then_nat_then_a_student_that_generates(tmp_path, capsys):
    base, data = tmp_path / "base", tmp_path / "data.jsonl"
    save_llama(base)
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + "{broken\n")
    common = ["--model", str(base), "--input", str(data), "--hold-out", "0.5"]
    stages = {
        "negative": ["--target-modules", "q_proj", "v_proj"],
        "nat": ["--negative", str(tmp_path / "negative"), "--gate-dim", "4"],
        "nce": [
            "--nat",
            str(tmp_path / "nat"),
            "--calibrate-by",
            "token",
            "--gradient-checkpointing",
        ],
    }
    for kind, options in stages.items():
        out, told = tmp_path / kind, tmp_path / f"{kind}.json"
        arguments = ["train", kind, *common, "--output", str(out), "--report", str(told), *options]
        assert main([*arguments, "--lora-rank", "2"]) == 0
        printed = capsys.readouterr().out
        assert "18 samples of 6 problems: 6 right, 6 wrong, 0 dup" in printed
        assert "6 unanswered" in printed and "malformed: 1 (row 7" in printed
        (counts,) = json.loads(told.read_text())["rows"]
        assert 0 < counts["examples"] < 6 and counts["steps"] > 0
    # An adapter is loaded by name, like any model.
    student: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "nce")
    assert student.peft_config["default"].r == 2
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "1 + 1 ="}\n')
    asked = ["generate", "--model", str(tmp_path / "nce"), "--strategy", "greedy"]
    files = ["--input", str(prompts), "--output", str(tmp_path / "out.jsonl")]
    assert main([*asked, *files, "--max-new-tokens", "4"]) == 0


@pytest.mark.parametrize("method", ["ft", "cot-kd", "mix", "cl", "nt", "ul"])
def test_trains_each_baseline(tmp_path, capsys, method):
    data, out, told = tmp_path / "data.jsonl", tmp_path / "out", tmp_path / "told.json"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    arguments = ["train", "baseline", "--method", method, "--input", str(data)]
    arguments += [
        "--output",
        str(out),
        "--hold-out",
        "0",
        "--lora-rank",
        "2",
        "--report",
        str(told),
    ]
    assert main([*arguments, "--target-modules", "q_proj"]) == 0
    (counts,) = json.loads(told.read_text())["rows"]
    assert counts["examples"] == {"ft": 18, "mix": 12}.get(method, 6)
    assert counts["trainable_parameters"] == 6 * 2 * (192 + 192)
    if method == "nt":
        # Its own samples are added; the other run goes into another folder.
        arguments[arguments.index(str(out))] = str(tmp_path / "again")
        assert main([*arguments, "--augment", str(out), "--augment-tokens", "8"]) == 0
        assert f"new right samples of {out}" in capsys.readouterr().out


def test_rejects_a_missing_nat_adapter(tmp_path, capsys):
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps(ROWS[0]) + "\n")
    arguments = ["train", "nce", "--input", str(data), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--nat", str(tmp_path), "--hold-out", "0"]) == 2
    assert "no NAT adapter in" in capsys.readouterr().err
