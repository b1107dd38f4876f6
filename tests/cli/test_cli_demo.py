import pytest

from reason_decode.cli import demo, main
from reason_decode.serving import from_options
from tests.fakes import ByteTokenizer, Guided, ScriptedModel, TableScorer

LINE = "10 - 4 = 6 (left: 5 6 6)"
WRONG, RIGHT = "Answer: 4 * 6 = 24", "Answer: 5 * (10 - 4) - 6 = 24"


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch):
    """Greedy is wrong, guidance is right."""
    plain = Guided(lambda prompt: [f"{LINE}\n{WRONG}"])
    guided = Guided(lambda prompt: [f"\x1b{LINE}\n{RIGHT}"], votes={"24": 2.0})
    monkeypatch.setattr(from_options, "load_model", lambda *_: (ScriptedModel(), ByteTokenizer()))
    scorer = TableScorer(lambda step: 1.0)
    monkeypatch.setattr(demo, "scorer_from_options", lambda options, **_: scorer)
    monkeypatch.setattr(demo, "BestOfN", lambda scorer, tokenizer, n: plain)
    monkeypatch.setattr(from_options, "strategy_from_options", lambda *_: guided)


def test_shows_both_solutions_step_by_step(capsys: pytest.CaptureFixture[str]):
    assert main(["demo", "--problem", "4 5 6 10"]) == 0
    assert capsys.readouterr().out == (
        "Make 24 from 4 5 6 10.\n\n"
        f"greedy\n  0.25  {LINE}\n  0.25  {WRONG}\n  wrong\n"
        "  1 prompt tokens read, 3 sampled, 4 read by the scorer\n\n"
        f"step-search, n=8\n  0.25  \\x1b{LINE}\n  0.25  {RIGHT}\n  right; votes: 24: 2\n"
        "  1 prompt tokens read, 3 sampled, 4 read by the scorer\n"
    )


def test_colours_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("reason_decode.io.console.colour_enabled", lambda: True)
    main(["demo", "--problem", "4 5 6 10"])
    out = capsys.readouterr().out
    assert "\x1b[31m0.25\x1b[0m" in out and "\x1b[32mright\x1b[0m" in out


@pytest.mark.parametrize(
    ("text", "task", "prompt", "target"),
    [
        ("4 5 6 10", "game24", "Make 24 from 4 5 6 10.\n", "24"),
        (" 4  5 6 10->36 ", "game24", "Make 36 from 4 5 6 10.\n", "36"),
        ("4 5 6 10 -> 0", "game24", "Make 0 from 4 5 6 10.\n", "0"),
        ("(1 + 2) * -3", "bbh-arithmetic", "(1 + 2) * -3 =\n", "-9"),
        ("(1 + 2) * -3 =", "bbh-arithmetic", "(1 + 2) * -3 =\n", "-9"),
    ],
)
def test_parses_three_forms_of_problems(text: str, task: str, prompt: str, target: str):
    parsed, item = demo.parse_problem(text)
    assert (parsed.name, item.prompt, item.target) == (task, prompt, target)


@pytest.mark.parametrize("text", ["", "4 5 6", "1 2 3 4 5", "4 5 6 10 -> x", "why?", "1 / 0"])
def test_rejects_other_problems(text: str, capsys: pytest.CaptureFixture[str]):
    assert main(["demo", "--problem", text]) == 2
    assert "write four whole numbers" in capsys.readouterr().err


def test_rejects_greedy_which_it_compares_with(capsys: pytest.CaptureFixture[str]):
    assert main(["demo", "--strategy", "greedy"]) == 2
    assert "name one that compares candidates" in capsys.readouterr().err
