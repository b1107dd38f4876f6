"""The commands on an instruct model: chats, tasks, sampling, and what its checkpoint says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GenerationMixin, LlamaConfig, LlamaForCausalLM

from reason_decode.cli import main
from reason_decode.serving import from_options
from tests.chat_templates import CHATML, tokenizer

SHORT = ("--max-new-tokens", "4")
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def instruct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random model of one layer, and a tokenizer of bytes with a template."""
    folder = tmp_path_factory.mktemp("instruct")
    tokens = tokenizer(CHATML)
    torch.manual_seed(0)
    size: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 2}
    ids: dict[str, Any] = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": 1}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokens), **size, **heads, **ids)).save_pretrained(
        folder
    )
    tokens.save_pretrained(folder)
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Rows:
    """The arguments of every call of generate, with the prompts as text."""
    calls: Rows = []
    mixin: Any = GenerationMixin
    real: Callable[..., Any] = mixin.generate

    def generate(self: Any, **kwargs: Any) -> Any:
        texts = tokenizer(CHATML).batch_decode(kwargs["input_ids"], skip_special_tokens=True)
        calls.append({**kwargs, "prompts": texts, "config": self.generation_config})
        return real(self, **kwargs)

    monkeypatch.setattr(GenerationMixin, "generate", generate)
    return calls


def write(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def generate(folder: Path, model: Path, *argv: str) -> list[dict[str, Any]]:
    given = ("generate", "--model", str(model), "--output", str(folder / "out.jsonl"), *SHORT)
    assert main([*given, *argv]) == 0
    return [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def test_a_prompt_is_a_users_turn_and_messages_are_a_conversation(
    tmp_path: Path, instruct: Path, asked: Rows
):
    messages = [{"role": "system", "content": "own"}, {"role": "user", "content": "1 + 2?"}]
    source = write(tmp_path / "p.jsonl", {"prompt": "2 + 3?"}, {"messages": messages})
    given = ["--input", source, "--strategy", "greedy", "--system", "Be brief."]
    rows = generate(tmp_path, instruct, *given)
    assert [("prompt" in row, "messages" in row) for row in rows] == [(True, False), (False, True)]
    assert rows[1]["messages"] == messages
    system = "<|im_start|>system\n{}<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
    opening = "<|im_start|>assistant\n"
    # Fillers on the left have the token of the end, which is decoded as nothing.
    assert [prompt.lstrip("!") for prompt in asked[0]["prompts"]] == [
        system.format("Be brief.", "2 + 3?") + opening,
        system.format("own", "1 + 2?") + opening,
    ]
    assert generate(tmp_path, instruct, *given) == rows and len(asked) == 1  # it is done


def test_no_chat_continues_text_as_it_stands(
    tmp_path: Path, instruct: Path, asked: Rows, capsys: pytest.CaptureFixture[str]
):
    source = write(tmp_path / "p.jsonl", {"prompt": "2 + 3?"})
    generate(tmp_path, instruct, "--input", source, "--strategy", "greedy", "--no-chat")
    assert asked[0]["prompts"] == ["2 + 3?"]
    chats = write(tmp_path / "m.jsonl", {"messages": [{"role": "user", "content": "a"}]})
    given = ["generate", "--input", chats, "--output", "-", "--strategy", "greedy"]
    assert main([*given, "--model", str(instruct), "--no-chat"]) == 2
    assert "line 1 of " in (err := capsys.readouterr().err) and "drop --no-chat" in err


def test_malformed_messages_are_set_aside(
    tmp_path: Path, instruct: Path, capsys: pytest.CaptureFixture[str]
):
    rows: Rows = [{"messages": []}, {"messages": [{"role": "user"}]}, {"prompt": "a"}, {}]
    source = write(tmp_path / "p.jsonl", *rows)
    made = generate(tmp_path, instruct, "--input", source, "--strategy", "greedy")
    assert [row["id"] for row in made] == [3]
    assert "1 completions" in (out := capsys.readouterr().out) and "3 lines set aside" in out


def test_options_of_sampling_reach_generate_and_are_shown(
    tmp_path: Path, instruct: Path, asked: Rows, capsys: pytest.CaptureFixture[str]
):
    source = write(tmp_path / "p.jsonl", {"prompt": "a"})
    more = tmp_path / "more.yaml"
    more.write_text("top_p: 0.5\ntypical_p: 0.9\n")
    flags = ["--top-p", "0.8", "--top-k", "20", "--min-p", "0.1", "--repetition-penalty", "1.1"]
    given = ["--input", source, "--strategy", "sample", "--temperature", "0.7"]
    generate(tmp_path, instruct, *given, *flags, "--generation", str(more))
    call = asked[0]
    assert (call["do_sample"], call["temperature"], call["top_p"]) == (True, 0.7, 0.8)
    assert (call["top_k"], call["min_p"], call["typical_p"]) == (20, 0.1, 0.9)
    assert call["repetition_penalty"] == 1.1
    err = capsys.readouterr().err
    assert "temperature 0.7, top_k 20, top_p 0.8" in err and "repetition_penalty 1.1" in err


def with_generation_config(instruct: Path, folder: Path, **values: Any) -> Path:
    """A copy of the model whose generation config says something else."""
    made = folder / "model"
    made.mkdir()
    for path in instruct.iterdir():
        (made / path.name).write_bytes(path.read_bytes())
    (made / "generation_config.json").write_text(json.dumps({"eos_token_id": 1, **values}))
    return made


@pytest.mark.parametrize("strategy", ["sample", "greedy", "self-consistency"])
def test_beams_of_a_checkpoint_do_not_leak_into_any_strategy(
    tmp_path: Path,
    instruct: Path,
    asked: Rows,
    strategy: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    # Regression: num_beams of generation_config.json turned `sample` into beam search, without a
    # word, and best-of-n refused the same folder.
    model = with_generation_config(instruct, tmp_path, num_beams=4, top_p=0.8, max_new_tokens=99)
    monkeypatch.setattr(GenerationMixin, "_beam_search", lambda *_, **__: pytest.fail("beams"))
    source = write(tmp_path / "p.jsonl", {"prompt": "a"})
    generate(tmp_path, model, "--input", source, "--strategy", strategy)
    assert (asked[0].get("top_p") == 0.8) is (strategy != "greedy")
    assert asked[0]["config"].num_beams is None and asked[0]["max_new_tokens"] == 4
    assert "says num_beams=4, which is not used" in capsys.readouterr().err


def test_a_generation_config_that_cannot_be_used_is_an_error_in_one_line(
    tmp_path: Path, instruct: Path, capsys: pytest.CaptureFixture[str]
):
    # Regression: an end token that is no number was a traceback of torch.
    model = with_generation_config(instruct, tmp_path, eos_token_id="x")
    source = write(tmp_path / "p.jsonl", {"prompt": "a"})
    given = ["generate", "--model", str(model), "--input", source, "--output", "-"]
    assert main([*given, "--strategy", "sample"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "generation_config.json" in err and "eos_token_id='x'" in err


def test_a_padding_token_beyond_the_vocabulary_is_never_needed(tmp_path: Path, instruct: Path):
    # Regression: it was a traceback of torch as soon as one row ended before the others.
    model = with_generation_config(instruct, tmp_path, pad_token_id=10**6)
    source = write(tmp_path / "p.jsonl", *({"prompt": "a" * k} for k in (1, 9, 3, 5)))
    given = ["--input", source, "--strategy", "sample", "--max-new-tokens", "60"]
    assert len(generate(tmp_path, model, *given)) == 4


def test_eval_asks_a_chat_model_the_question_with_the_instruction(
    tmp_path: Path, instruct: Path, asked: Rows
):
    source = write(tmp_path / "d.jsonl", {"question": "1 + 2?", "answer": "1 + 2 = 3\n#### 3"})
    given = ["eval", "--task", "gsm8k", "--input", source, "--model", str(instruct), *SHORT]
    assert main([*given, "--strategy", "greedy", "--few-shot", "1"]) == 0
    (prompt,) = asked[0]["prompts"]
    assert prompt.count("<|im_start|>user\n") == 2 and "\\boxed{121}" in prompt
    assert prompt.endswith("\\boxed{}.<|im_end|>\n<|im_start|>assistant\n")
    assert "stop_strings" not in asked[0]
    assert main([*given, "--strategy", "greedy", "--no-chat"]) == 0
    assert asked[1]["prompts"] == ["Question: 1 + 2?\nAnswer:"]
    assert asked[1]["stop_strings"] == ["\nQuestion:"]


def test_scorers_are_asked_about_the_question_alone(tmp_path: Path, instruct: Path, asked: Rows):
    source = write(tmp_path / "d.jsonl", {"question": "1 + 2?", "answer": 3})
    out = tmp_path / "out.json"
    for k, more in enumerate([[], ["--no-chat"]]):
        given = ["eval", "--input", source, "--model", str(instruct), "--strategy", "best-of-n"]
        options = ["--n", "2", "--scorer", "likelihood", "--output", str(out), *SHORT, *more]
        traces = tmp_path / f"traces{k}.jsonl"
        assert main([*given, *options, "--trace", str(traces), "--restart"]) == 0
        _, row = map(json.loads, traces.read_text().splitlines())
        assert row["trace"]["prompt"] == "1 + 2?"
    assert json.loads(out.read_text())["sampling"]["temperature"] == 1.0


def test_a_file_of_prompts_and_answers_is_measured_without_a_task(tmp_path: Path):
    # Regression: --task was required, and knew two tasks.
    rows = [{"prompt": "1 + 2 =\n", "answer": "3"}, {"prompt": "2 + 2 =\n", "answer": "4"}]
    source, out = write(tmp_path / "d.jsonl", *rows), tmp_path / "o.json"
    few = ["--strategy", "greedy", "--max-new-tokens", "8", "--output", str(out)]
    assert main(["eval", "--input", source, *few]) == 0
    result = json.loads(out.read_text())
    assert (result["task"], result["items"]) == ("questions", 2)


def test_graded_samples_are_reranked_without_a_task(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    # Regression: --task was required, and knew two tasks.
    samples: dict[str, Any] = {"samples": ["It is 5.", "It is 6."], "correct": [True, False]}
    source, out = write(tmp_path / "s.jsonl", {"prompt": "2 + 3?", **samples}), tmp_path / "o.json"
    assert main(["rerank", "--input", source, "--output", str(out)]) == 0
    assert "scored by tiny" in capsys.readouterr().err
    source = write(
        tmp_path / "q.jsonl",
        {"question": "2 + 3?", "answer": "#### 5", "samples": ["\\boxed{5}", "\\boxed{6}"]},
    )
    assert main(["rerank", "--task", "gsm8k", "--input", source, "--output", str(out)]) == 0
    assert json.loads(out.read_text())["rows"][0]["right_samples"] == 1


def test_another_model_than_tiny_wants_its_scorer_named(
    tmp_path: Path, instruct: Path, capsys: pytest.CaptureFixture[str]
):
    # Regression: candidates of a user's model were chosen by the packaged verifier of number games.
    source = write(tmp_path / "p.jsonl", {"prompt": "a"})
    given = ["generate", "--model", str(instruct), "--input", source, "--output", "-"]
    assert main(given) == 2
    assert "without a scorer; name one as scorer (--scorer)" in capsys.readouterr().err


def test_a_system_turn_without_a_chat_template_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    source = write(tmp_path / "p.jsonl", {"prompt": "a"})
    given = ["generate", "--input", source, "--output", "-", "--system", "x"]
    assert main(given) == 2
    assert "the tokenizer of tiny has no chat template; drop it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        ("confidence=sure", "got measure='sure'"),
        ("certainty/", "there is no folder certainty/"),
        ("orm=none/at/all", "there is no folder none/at/all"),
        ("{model}", "does not say what kind of scorer it is; write word="),
        ("ranker", "which needs a folder or Hub id: ranker=folder"),
    ],
)
def test_a_scorer_that_cannot_be_loaded_is_refused_before_the_generator_is_loaded(
    tmp_path: Path,
    instruct: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    scorer: str,
    message: str,
):
    # Regression: a generator was loaded for minutes before its scorer turned out not to exist.
    monkeypatch.setattr(from_options, "load_model", lambda *_: pytest.fail("loaded"))
    source = write(tmp_path / "p.jsonl", {"prompt": "a"})
    given = ["generate", "--model", str(instruct), "--input", source, "--output", "-"]
    assert main([*given, "--scorer", scorer.format(model=instruct)]) == 2
    assert message in capsys.readouterr().err


def test_a_chat_model_judges_by_a_word_and_a_folder(tmp_path: Path, instruct: Path):
    source = write(tmp_path / "p.jsonl", {"prompt": "a"})
    for scorer in (f"generative={instruct}", "generative", "likelihood", f"likelihood={instruct}"):
        given = ["--input", source, "--scorer", scorer, "--n", "2", "--restart"]
        assert generate(tmp_path, instruct, *given)[0]["score"] is not None


def test_label_samples_rollouts_through_the_chat_template(
    tmp_path: Path, instruct: Path, asked: Rows
):
    """Rollouts of a chat model continued plain text, which it was never trained on."""
    row = {"prompt": "2+3?", "completions": ["a", "b"], "labels": [None, None], "answer": "5"}
    source, out = write(tmp_path / "s.jsonl", row), tmp_path / "out.jsonl"
    argv = ["label", "--input", source, "--model", str(instruct), "--rollouts", "1", *SHORT]
    argv += ["--output", str(out), "--restart"]
    assert main([*argv, "--system", "Be terse."]) == main([*argv, "--no-chat"]) == 0
    chat = "<|im_start|>system\nBe terse.<|im_end|>\n<|im_start|>user\n2+3?<|im_end|>\n"
    prompts = [call["prompts"] for call in asked]
    assert prompts == [[chat + "<|im_start|>assistant\n"], ["2+3?\n"]]
    assert main([*argv[:3], "--scorer", "tiny", "--output", str(out), "--system", "Be terse."]) == 2
