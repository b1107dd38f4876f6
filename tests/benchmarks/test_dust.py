import json

import pytest

pytest.importorskip("accelerate", reason="training needs accelerate")
pytest.importorskip("peft", reason="adapters need peft")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # transformers', torch's and peft's own
]


@pytest.fixture
def small(tmp_path, monkeypatch, benchmark):
    """Arguments of a run of two training steps on short samples."""
    games, sums = tmp_path / "24.csv", tmp_path / "bbh.json"
    games.write_text("Rank,Puzzles\n801,1 1 4 6\n802,2 3 4 5\n")
    examples = [{"input": "((-1 + 2 + 9 * 5) - (-2 + -4 + -4 * -7)) =", "target": "24"}]
    sums.write_text(json.dumps({"examples": examples}))
    kinds = benchmark("papers.dust_samples").KINDS
    short = {name: kind._replace(tokens=8) for name, kind in kinds.items()}
    monkeypatch.setattr(benchmark("papers.dust_samples"), "KINDS", short)
    for name in ("game24", "bbh-arithmetic"):
        task = benchmark("papers.dust").TASKS[name]
        monkeypatch.setitem(benchmark("papers.dust").TASKS, name, quick(task))
    folder = tmp_path / "samples"
    folder.mkdir()
    rows = [
        {"prompt": f"Make {a} from 1 2 3.\n", "solution": f"Answer: {a}", "correct": bool(a % 2)}
        for a in range(10, 16)
    ]
    for name in ("samples", "reference"):
        for kind in kinds:
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (folder / f"{name}-{kind}-000.jsonl").write_text(text)
    files = {"samples": folder, "output": tmp_path / "out", "input": games, "bbh": sums}
    arguments = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    arguments += "--problems 1 1 --n 1 --steps 2 --batch-size 2 --augment 1".split()
    arguments += ["--lora-rank", "2", "--gate-dim", "4"]
    return [*arguments, "--target-modules", "q_proj", "v_proj"]


def quick(task):
    from dataclasses import replace

    return replace(task, max_new_tokens=2)


def test_dust_has_a_row_for_every_method_and_a_second_run_trains_nothing(
    small, tmp_path, capsys, benchmark
):
    run = benchmark("papers.dust")
    methods = [*run.METHODS, *run.EXTRA]
    every = ["--seeds", "1", "--only", *methods]
    assert run.main([*small, *every]) == 0
    path = tmp_path / "out" / "results.jsonl"
    settings, *rows = map(json.loads, path.read_text().splitlines())
    assert sorted(row["method"] for row in rows) == sorted(methods)
    trained = {row["method"]: row["trainable_parameters"] for row in rows}
    assert trained["cot-kd"] < 0.6 * trained["nat"]
    assert abs(trained["cot-kd-as-large"] / trained["nat"] - 1) < 0.1
    assert trained["2pos-neg"] == 2 * trained["cot-kd"] and trained["base"] == 0
    assert all([len(x) for x in row["correct"].values()] == [2, 1] for row in rows)
    printed = capsys.readouterr().out
    assert "cot-kd and negative" in printed and "cot-kd and second" in printed
    before = path.read_text()
    assert run.main([*small, *every]) == 0
    assert path.read_text() == before
    with pytest.raises(ValueError, match="was made with other steps; name another --output"):
        run.main([*small, "--steps", "3"])
    assert settings["settings"]["steps"] == 2


def test_dust_resumes_after_half_a_line(small, tmp_path, benchmark):
    run = benchmark("papers.dust")
    only = ["--seeds", "1", "--only", "base", "--quiet"]
    assert run.main([*small, *only]) == 0
    path = tmp_path / "out" / "results.jsonl"
    whole = path.read_text()
    path.write_text(whole[: whole.rindex("correct")])
    assert run.main([*small, *only]) == 0
    assert json.loads(path.read_text().splitlines()[-1])["method"] == "base"


def test_dust_refuses_samples_of_tested_problems(small, tmp_path, benchmark):
    samples = benchmark("papers.dust_samples")
    for prompt in ("Make 24 from 1 2 3.\n", "(1 + 2) =\n"):
        row = {"prompt": prompt, "solution": "3", "correct": True}
        (tmp_path / "samples" / "samples-arithmetic-001.jsonl").write_text(json.dumps(row) + "\n")
        with pytest.raises(ValueError, match="which is tested on; draw into another"):
            samples.read_samples(tmp_path / "samples", 2, 2, {"(1 + 2) =\n"})


def test_dust_samples_are_drawn_once_and_capped(tmp_path, monkeypatch, benchmark):
    samples = benchmark("papers.dust_samples")
    short = samples.KINDS["countdown"]._replace(tokens=100)
    monkeypatch.setattr(samples, "KINDS", {**samples.KINDS, "countdown": short})
    samples.draw_samples(tmp_path, {"countdown": 2}, 4, set())
    (path,) = tmp_path.glob("samples-*.jsonl")
    written = path.stat().st_mtime_ns
    samples.draw_samples(tmp_path, {"countdown": 2}, 4, set())
    assert path.stat().st_mtime_ns == written
    found = samples.read_samples(tmp_path, 1, 1, set())
    assert len(found.reference) == 2 and all(x.correct for x in found.reference)
    assert len(found.wrong) <= 2 and found.counts.samples <= 8
    assert all(samples.is_right(x, "\n".join(x.steps)) for x in (*found.right, *found.reference))


def test_parts_of_the_dust_samples_are_all_of_them(tmp_path, monkeypatch, benchmark):
    samples = benchmark("papers.dust_samples")
    short = {name: kind._replace(tokens=2) for name, kind in samples.KINDS.items()}
    monkeypatch.setattr(samples, "KINDS", short)
    monkeypatch.setattr(samples, "CHUNK", 1)
    wanted = {"countdown": 2, "arithmetic": 1}
    for k in range(2):
        samples.draw_samples(tmp_path / "parts", wanted, 1, set(), part=(k, 2))
    samples.draw_samples(tmp_path / "whole", wanted, 1, set())
    parts, whole = (
        {path.name: path.read_text() for path in (tmp_path / x).iterdir()}
        for x in ("parts", "whole")
    )
    assert parts == whole and len(whole) == 6


def test_overlap_is_the_intersection_over_the_union(benchmark):
    overlap = benchmark("papers.dust_table").overlap_rows
    right = {"cot-kd": [1, 1, 0, 0], "negative": [0, 1, 1, 0]}
    rows = {(name, 0): {"correct": {"game24": x}} for name, x in right.items()}
    (line,) = overlap(rows)
    assert (line["first"], line["both"], line["by chance"]) == ("2.0", "1.0", "0.333")
    assert line["IoU"].startswith("0.333 (0.000 to ")


def test_gains_are_over_the_seeds_that_both_methods_have(benchmark):
    gain_rows = benchmark("papers.dust_table").gain_rows
    right = {("nce", 0): [1, 1], ("nce", 1): [1, 1], ("kd", 1): [1, 0]}
    rows = {key: {"correct": {"game24": x}} for key, x in right.items()}
    (line,) = gain_rows(rows)
    assert (line["method"], line["over"]) == ("nce", "kd")
    assert line["gain, game24"].startswith("+50.0 (")
