"""A model at a server that has faults, and what is asked of it."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from reason_decode import BestOfN, SelfConsistency, StepSearch, StepSplitter
from reason_decode.core.errors import ItemError
from reason_decode.core.splitting import StepBoundary
from reason_decode.generation.row_state import Row
from reason_decode.io.completions import Choice
from reason_decode.serving import ServedModel
from reason_decode.serving.draft import Draft
from reason_decode.serving.text_ids import TextIds
from reason_decode.tiny import Tiny
from tests.chat_templates import CHATML, THINKS, chat, tokenizer
from tests.completion_server import Served, completions
from tests.fakes import TableScorer

PROMPT = "Make 24 from 4 5 6 10.\n"


def answer(text: str, tokens: Any) -> Any:
    """Continues every prompt by a text."""
    ids = [*tokens(text)["input_ids"], tokens.eos_token_id]
    return lambda body, prompt, index: ids


@pytest.fixture
def vote(tiny: Tiny) -> SelfConsistency:
    return SelfConsistency(tokenizer=tiny.tokenizer, n=4)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reason_decode.io.openai_client.random.uniform", lambda low, high: 0.0)


def served(tiny: Tiny, behave: Any = lambda count: None, text: str = "The answer is 3.") -> Any:
    return completions(answer(text, tiny.tokenizer), tiny.tokenizer, behave=behave)


@pytest.mark.parametrize("fault", [500, 503, "drop", "rubbish"])
def test_a_fault_that_passes_costs_a_second_attempt(tiny: Tiny, vote: Any, fault: Any):
    with served(tiny, lambda count: fault if count == 1 else None) as made:
        response = vote.complete(ServedModel(made.url, "m", tiny.tokenizer), PROMPT)
    assert response.answer == "3" and len(response.trace.candidates) == 4
    assert len(made.bodies) == 2


@pytest.mark.parametrize(
    ("fault", "error", "match"),
    [
        (500, ConnectionError, "HTTP 500.*2 attempts.*try again when the server is up"),
        ("drop", ConnectionError, "no answer: .*2 attempts"),
        ("rubbish", ConnectionError, "no answer: JSONDecodeError"),
        (404, ConnectionError, "check the model's name against its /models"),
        (401, ConnectionError, "set the environment variable OPENAI_API_KEY"),
        (400, ItemError, "HTTP 400"),
    ],
)
def test_a_fault_that_stays_is_an_error_in_words(
    tiny: Tiny, vote: Any, fault: Any, error: type[Exception], match: str
):
    with served(tiny, lambda count: fault) as made:
        model = ServedModel(made.url, "m", tiny.tokenizer, attempts=2)
        with pytest.raises(error, match=match):
            vote.complete(model, PROMPT)


def test_a_server_that_is_down_is_named(tiny: Tiny, vote: Any):
    with pytest.raises(ConnectionError, match="start the server, or check the address"):
        vote.complete(ServedModel("http://127.0.0.1:9/v1", "m", tiny.tokenizer), PROMPT)
    model = ServedModel("http://127.0.0.1:9/v1", "m", tiny.tokenizer, server="vllm", attempts=1)
    with pytest.raises(ConnectionError, match="no answer"):
        vote.complete(model, PROMPT)


def test_a_server_that_is_not_up_yet_is_not_taken_for_another_kind(tiny: Tiny, vote: Any):
    """A vLLM that was loading its model would have been asked as a server that knows nothing."""
    tokens = tiny.tokenizer
    with completions(answer("It is 3.", tokens), tokens, models=503) as made:
        with pytest.raises(ConnectionError, match="HTTP 503.*wait until the server is up"):
            vote.complete(ServedModel(made.url, "m", tokens), PROMPT)
    # `transformers serve` answers 500 where there is no folder of the Hub, and still samples.
    for status in (404, 500):
        with completions(answer("It is 3.", tokens), tokens, models=status) as made:
            assert vote.complete(ServedModel(made.url, "m", tokens), PROMPT).answer == "3"
        assert len(made.bodies) == 4 and all("n" not in body for body in made.bodies)


def test_a_slow_server_is_given_up_and_each_attempt_is_told(
    tiny: Tiny, vote: Any, caplog: pytest.LogCaptureFixture
):
    """A request of many samples outlasted its timeout: it was sent six times without a word."""

    def slow(count: int) -> None:
        time.sleep(0.5)

    how: dict[str, Any] = {"attempts": 2, "timeout": 0.1, "total_timeout": 0.2}
    with served(tiny, slow) as made:
        model = ServedModel(
            made.url, "m", tiny.tokenizer, server="vllm", sleep=lambda seconds: None, **how
        )
        with pytest.raises(ConnectionError, match="no answer: TimeoutError"):
            vote.complete(model, PROMPT)
    told = [x.getMessage() for x in caplog.records if "had no answer in time" in x.getMessage()]
    assert [f"attempt {k} of 2" in text for k, text in zip((1, 2), told, strict=True)] == [True] * 2


def test_a_failure_cancels_the_other_requests_of_a_call(tiny: Tiny):
    """They went on to their end at the server, whose tokens nobody waited for."""
    left = threading.Event()

    def behave(count: int) -> int | None:
        if count == 1:
            left.wait(5)
            return None
        return 400

    scorer = TableScorer(lambda step: 0.5)
    best = BestOfN(scorer, tokenizer=tiny.tokenizer, n=1)
    with served(tiny, behave) as made:
        model = ServedModel(made.url, "m", tiny.tokenizer, server="vllm", attempts=1)
        start = time.monotonic()
        with pytest.raises(ItemError):
            best.complete(model, [PROMPT, PROMPT.replace("24", "36")])
        assert time.monotonic() - start < 4
        left.set()


def test_a_stream_is_closed_behind_a_step(tiny: Tiny):
    """A step is streamed where the server does not say which stop string it met."""
    lines = "1 + 1 = 2\n" * 400
    scorer = TableScorer(lambda step: 0.5)
    search = StepSearch(scorer, tokenizer=tiny.tokenizer, n=1, max_steps=1)
    tokens = tiny.tokenizer
    with completions(answer(lines, tokens), tokens, owner="openai") as made:
        model: Any = ServedModel(made.url, "m", tokens)
        response = search.complete(model, PROMPT, max_new_tokens=9000)
        time.sleep(0.1)
    assert response.text == "1 + 1 = 2\n"
    assert all(body["stream"] and "stop" not in body for body in made.bodies)


def test_a_server_that_ignores_n_is_told_of(tiny: Tiny, vote: Any):
    end: Any = [tiny.tokenizer.eos_token_id]

    def one(body: dict[str, Any], ids: list[int], index: int) -> list[int]:
        return end

    with completions(one, tiny.tokenizer, most=1) as made:
        with pytest.raises(ConnectionError, match="answered 1 completions for n=4; pass server="):
            vote.complete(ServedModel(made.url, "m", tiny.tokenizer), PROMPT)
        plain = ServedModel(made.url, "m", tiny.tokenizer, server="openai")
        assert len(vote.complete(plain, PROMPT).trace.candidates) == 4


@pytest.fixture
def chatty() -> Iterator[tuple[Any, Served]]:
    tokens = tokenizer(CHATML)
    with completions(answer("It is 3.", tokens), tokens) as made:
        yield tokens, made


def test_a_conversation_is_rendered_here_and_its_question_is_scored(chatty: tuple[Any, Served]):
    tokens, made = chatty
    scorer = TableScorer(lambda step: 0.5)
    model = ServedModel(made.url, "m", tokens)
    best = BestOfN(scorer, tokenizer=tokens, n=2)
    response = best.chat(model, chat("1 + 2?", system="Add."), temperature=0.5)
    text = "<|im_start|>system\nAdd.<|im_end|>\n<|im_start|>user\n1 + 2?<|im_end|>\n"
    assert tokens.decode(made.bodies[0]["prompt"]) == text + "<|im_start|>assistant\n"
    assert made.bodies[0]["temperature"] == 0.5 and made.bodies[0]["max_tokens"] == 1024
    assert {prompt for prompt, _ in scorer.asked} == {"1 + 2?"} and response.text == "It is 3."
    assert "top_p" not in made.bodies[0]  # what a call leaves out is the server's


def test_a_thought_that_the_template_opened_is_no_vote():
    """A server's completion of an R1-like prompt begins inside the thought, without its tag."""
    tokens = tokenizer(THINKS)
    with completions(answer("Is the answer 7? The answer is 7", tokens), tokens) as made:
        vote = SelfConsistency(tokenizer=tokens, n=2)
        response = vote.chat(ServedModel(made.url, "m", tokens), "1 + 2?")
    assert response.trace.votes == {} and response.answer is None
    assert response.text.startswith("Is the answer 7?")


def test_fields_of_a_request_are_in_the_words_of_its_server(tiny: Tiny, vote: Any):
    options = {"temperature": 0.5, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.2}
    with served(tiny) as made:
        for kind in ("vllm", "llama.cpp", "transformers"):
            extra = {"min_p": 0.1} if kind == "vllm" else {}
            model = ServedModel(
                made.url, "m", tiny.tokenizer, server=kind, extra_body=extra, seeds=kind != "vllm"
            )
            vote.complete(model, PROMPT, **options)
    first, second, third = made.bodies[:3]
    assert (first["top_k"], first["min_p"], first["n"], "seed" in first) == (-1, 0.1, 4, False)
    assert (second["top_k"], second["repeat_penalty"], second["n"]) == (0, 1.2, 4)
    # llama.cpp tells token ids beside log-probabilities alone.
    assert second["logprobs"] == 1
    assert "seed" in second and "repetition_penalty" not in second
    assert isinstance(third["prompt"], str) and "n" not in third and "top_k" not in third
    assert len(made.bodies) == 1 + 1 + 4


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"num_beams": 2}, "got num_beams=2 for a model at a server"),
        ({"do_sample": False}, "greedy decoding makes all alike"),
    ],
)
def test_options_that_a_server_cannot_do_are_refused(
    tiny: Tiny, vote: Any, options: dict[str, Any], match: str
):
    with served(tiny) as made:
        with pytest.raises(ValueError, match=match):
            vote.complete(ServedModel(made.url, "m", tiny.tokenizer), PROMPT, **options)
    assert made.bodies == []


def test_rejects_invalid_arguments(tiny: Tiny):
    own = tiny.tokenizer
    with pytest.raises(ValueError, match="must begin with http"):
        ServedModel("localhost:8000", "m", own)
    with pytest.raises(ValueError, match="got no address"):
        ServedModel([], "m", own)
    with pytest.raises(ValueError, match="got server='triton'; need one of auto, vllm"):
        ServedModel("http://localhost/v1", "m", own, server="triton")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="got concurrency=0"):
        ServedModel("http://localhost/v1", "m", own, concurrency=0)
    model = ServedModel("http://localhost/v1", "m", own, server="vllm")
    strategy: Any = "runs/search"
    with pytest.raises(ValueError, match="pass a strategy"):
        model.generate(torch.tensor([[1]]), custom_generate=strategy)


def draft(tiny: Tiny, **options: Any) -> Draft:
    none = torch.zeros(0, dtype=torch.long)
    prompt = tiny.tokenizer(PROMPT, return_tensors="pt")["input_ids"][0]
    boundary = StepBoundary(tiny.tokenizer, StepSplitter("\n"))
    given: dict[str, Any] = {"boundary": boundary, "stop_strings": (), "remaining": 20, **options}
    return Draft(Row(0, none, {}), prompt, text_ids=TextIds(tiny.tokenizer), **given)


def test_blank_lines_end_no_step(tiny: Tiny):
    one = draft(tiny)
    one.extend(Choice("\n", "stop"), streamed=False)
    assert not one.is_over and one.most_tokens == 19
    one.extend(Choice("4 + 5 = 9\n", "stop"), streamed=False)
    branch = one.branch(branchable=True)
    assert one.is_over and not branch.stopped
    assert tiny.tokenizer.decode(branch.tokens) == "\n4 + 5 = 9\n"


def test_tokens_behind_a_boundary_are_thrown_away_and_counted(tiny: Tiny):
    one = draft(tiny)
    counted = one.extend(Choice("4 + 5 = 9\n9 + 6", None), streamed=True)
    branch = one.branch(branchable=True)
    assert tiny.tokenizer.decode(branch.tokens) == "4 + 5 = 9\n"
    assert counted > len(branch.tokens) and branch.remaining_tokens == 20 - len(branch.tokens)


def test_an_end_of_sequence_that_the_server_writes_is_one_token(tiny: Tiny):
    """vLLM writes it into a streamed text, and a second one was added behind it."""
    one = draft(tiny)
    one.extend(Choice("4 + 5<eos>", "stop"), streamed=True)
    tokens = one.branch(branchable=True).tokens.tolist()
    assert tokens.count(tiny.tokenizer.eos_token_id) == 1
    assert tokens[-1] == tiny.tokenizer.eos_token_id


def test_an_end_other_than_known_ones_stops_a_candidate(tiny: Tiny):
    one = draft(tiny)
    one.extend(Choice("4 +", "abort"), streamed=False)
    branch = one.branch(branchable=True)
    assert one.is_over and branch.stopped and not branch.finished


def test_a_candidate_cut_off_by_the_limit_is_not_finished(tiny: Tiny):
    one = draft(tiny, remaining=3)
    one.extend(Choice("4 + 5", "length"), streamed=False)
    branch = one.branch(branchable=True)
    assert branch.stopped and not branch.finished and branch.remaining_tokens == 0


def test_ids_of_a_text_decode_behind_what_precedes_it(tiny: Tiny):
    ids = TextIds(tiny.tokenizer)
    before = tiny.tokenizer(PROMPT)["input_ids"]
    for text in ("4 + 5 = 9\n", " left", "\n\n", ""):
        assert ids.decode([*before, *ids.ids(before, text)]) == ids.decode(before) + text
    assert ids.text(torch.tensor(before)) == PROMPT
    assert ids.length_to([], ids.ids([], "a = b = c"), ["="]) == ids.length_to(
        [], ids.ids([], "a = b"), ["="]
    )
