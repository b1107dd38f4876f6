"""Reward models behind /pooling and /classify, against the same models in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    Qwen2Config,
    Qwen2ForSequenceClassification,
    Qwen2Model,
)

from reason_decode import BestOfN, StepSearch, tiny
from reason_decode.core.errors import ScoringError
from reason_decode.core.options import ScorerOptions
from reason_decode.models.heads import attach_head
from reason_decode.scorers import (
    OutcomeRewardModel,
    ServedOutcomeRewardModel,
    ServedProcessRewardModel,
)
from reason_decode.scorers.prm_formats import format_by_name
from reason_decode.scorers.served import load_served_scorer
from reason_decode.strategies.from_options import scorer_from_options
from reason_decode.testing import check_scorer
from reason_decode.tiny import Tiny
from tests.chat_templates import CHATML, tokenizer
from tests.server import answering
from tests.tolerance import assert_close, roundings

PRM = tiny.WEIGHTS / "prm"
PROMPTS = ["Make 24 from 4 5 6 10.\n", "Make 36 from 4 5 6 10.\n", "Make 24 from 4 5 6 10.\n"]
SOLUTIONS: list[Any] = [
    ["10 - 4 = 6 (left: 5 6 6)", "5 * 6 = 31 (left: 6 31)"],
    "10 - 4 = 6 (left: 5 6 6)\n6 * 6 = 36 (left: 5 36)",
    [],
]


def pooling(outputs: Callable[[list[int]], torch.Tensor]) -> Callable[..., tuple[int, Any]]:
    """Answers of a server that gives the outputs of a head for token ids."""

    def answer(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        assert body["use_activation"] is False and "temperature" not in body
        rows = outputs(body["input"]).tolist()
        made = {"probs": rows[-1]} if path == "/classify" else {"data": rows}
        assert path == "/classify" or body["task"] == "token_classify"
        return 200, {"data": [made], "usage": {"prompt_tokens": len(body["input"])}}

    return answer


def tiny_outputs(tiny: Tiny) -> Callable[[list[int]], torch.Tensor]:
    def outputs(ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return tiny.prm.forward(input_ids=torch.tensor([ids]))[0]

    return outputs


@pytest.mark.numeric
def test_scores_are_those_of_the_model_in_this_process(tiny: Tiny):
    with answering(pooling(tiny_outputs(tiny))) as url:
        served = ServedProcessRewardModel.from_pretrained(PRM, url, "prm", concurrency=2)
        here, there = (x.score(PROMPTS, SOLUTIONS) for x in (tiny.prm, served))
        assert [len(x) for x in there] == [2, 2, 0]
        for one, other in zip(here, there, strict=True):
            assert_close(other, one, terms=roundings(tiny.prm.model), scale=1.0)
        check_scorer(served)


def test_a_layout_holds_no_weights():
    served = ServedProcessRewardModel.from_pretrained(PRM, "http://127.0.0.1:1/v1", "prm")
    assert {x.device.type for x in served.layout.model.parameters()} == {"meta"}
    assert served.endpoint.url == "http://127.0.0.1:1/pooling"


def test_strategies_choose_as_with_the_model_here_and_tokens_are_counted(tiny: Tiny):
    sent: list[int] = []
    outputs = tiny_outputs(tiny)

    def counted(ids: list[int]) -> torch.Tensor:
        sent.append(len(ids))
        return outputs(ids)

    inputs = tiny.tokenizer([PROMPTS[0]], return_tensors="pt")
    options = {"do_sample": True, "max_new_tokens": 48, "return_dict_in_generate": True}
    with answering(pooling(counted)) as url:
        served = ServedProcessRewardModel.from_pretrained(PRM, url, "prm")
        for kind in (BestOfN, StepSearch):
            found = []
            for scorer in (tiny.prm, served):
                sent.clear()
                torch.manual_seed(0)
                strategy = kind(scorer, tokenizer=tiny.tokenizer, n=3)
                found.append(tiny.model.generate(**inputs, **options, custom_generate=strategy))
            assert torch.equal(found[0].sequences, found[1].sequences)
            assert found[1].cost.scorer == sum(sent) > 0


def random_qwen(tokens: Any, **sizes: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokens) + 8,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        **sizes,
    }


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("format", "labels"), [("qwen-math", 2), ("qwen-math", 1), ("skywork", 1), ("reasoneval", 3)]
)
def test_every_format_with_a_head_can_be_served(tmp_path: Path, format: str, labels: int):
    tokens = tokenizer(CHATML)
    tokens.add_special_tokens({"pad_token": "<pad>"})
    tokens.add_tokens(["<extra_0>", "\n"], special_tokens=True)
    torch.manual_seed(0)
    config = Qwen2Config(**random_qwen(tokens))
    body = Qwen2Model(config).eval()
    attach_head(body, torch.nn.Linear(16, labels))
    model = format_by_name(format)(body, tokens)
    config.architectures = ["Qwen2ForProcessRewardModel"]
    config.save_pretrained(tmp_path)
    tokens.save_pretrained(tmp_path)

    def outputs(ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            hidden = model.forward(input_ids=torch.tensor([ids]))[0]
            return body.get_submodule("reward_head")(hidden)

    with answering(pooling(outputs)) as url:
        detected = None if format == "qwen-math" else format
        served = ServedProcessRewardModel.from_pretrained(tmp_path, url, "m", format=detected)
        assert type(served.layout) is type(model)
        for one, other in zip(
            *(x.score(["1 + 2?"], [["1 + 2 = 3", "So 3."]]) for x in (model, served)), strict=True
        ):
            assert len(one) == 2
            assert_close(other, one, terms=roundings(body), scale=1.0)


@pytest.mark.numeric
@pytest.mark.parametrize("labels", [1, 2])
def test_outcome_reward_models_are_served_by_classify(tmp_path: Path, labels: int):
    tokens = tokenizer(CHATML)
    torch.manual_seed(0)
    config = Qwen2Config(**random_qwen(tokens, num_labels=labels))
    model = Qwen2ForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    tokens.save_pretrained(tmp_path)

    def outputs(ids: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return model.score(model.model(input_ids=torch.tensor([ids])).last_hidden_state[0])

    with answering(pooling(outputs)) as url:
        served = load_served_scorer(str(tmp_path), url, "m")
        assert isinstance(served, ServedOutcomeRewardModel)
        here = OutcomeRewardModel(model, tokens).score(["1?"], ["2\n3"])
        there = served.score(["1?"], ["2\n3"])
        assert_close(there, here, terms=roundings(model), scale=1.0)


def test_a_server_may_return_the_rows_of_step_tags_alone(tiny: Tiny):
    layout = tiny.prm
    encoded = layout.encode(PROMPTS[0], SOLUTIONS[0])
    rows = tiny_outputs(tiny)(encoded.ids)[encoded.score_positions]
    with answering(lambda path, body: (200, {"data": [{"data": rows.tolist()}]})) as url:
        served = ServedProcessRewardModel(url, "prm", layout)
        here, there = (x.score(PROMPTS[:1], SOLUTIONS[:1]) for x in (layout, served))
        assert_close(there, here, terms=roundings(tiny.prm.model), scale=1.0)


@pytest.mark.parametrize(
    ("status", "answer", "error", "said"),
    [
        (200, {"data": []}, ConnectionError, "no outputs of a head"),
        (200, b"<html>", ConnectionError, "no answer: JSONDecodeError"),
        (200, {"data": [{"data": [[1, 2], [3]]}]}, ConnectionError, "no outputs of a head"),
        (200, {"data": [{"data": [["a", "b"]]}]}, ConnectionError, "no outputs of a head"),
        (200, {"data": [{"data": "AAAA"}]}, ConnectionError, "no outputs of a head"),
        (200, {"data": [{"data": [[1.0, 2.0, 3.0]] * 7}]}, ScoringError, "returned 7 rows"),
        (200, b'{"data": [{"data": [[NaN, 1, 2]]}]}', ScoringError, "not finite"),
        (400, {"error": "too long"}, ScoringError, "HTTP 400: "),
        (404, {}, ConnectionError, "--runner pooling"),
        (401, {}, ConnectionError, "set the environment variable"),
        (503, {}, ConnectionError, "when the server is up"),
    ],
    ids=str,
)
def test_faults_of_a_server_are_errors_in_words(
    tiny: Tiny, status: int, answer: Any, error: type[Exception], said: str
):
    asked: list[str] = []

    def faulty(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        asked.append(path)
        return status, answer

    with answering(faulty) as url:
        served = ServedProcessRewardModel(
            url, "prm", tiny.prm, attempts=2, sleep=lambda seconds: None
        )
        with pytest.raises(error, match=said):
            served.score(PROMPTS[:1], SOLUTIONS[:1])
    retried = error is ConnectionError and status in (200, 503)
    assert len(asked) == (2 if retried else 1)


def test_a_broken_answer_is_asked_for_again(tiny: Tiny):
    answers = pooling(tiny_outputs(tiny))
    asked: list[int] = []

    def once(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        asked.append(1)
        return (200, b"{") if len(asked) == 1 else answers(path, body)

    with answering(once) as url:
        served = ServedProcessRewardModel(url, "prm", tiny.prm, sleep=lambda seconds: None)
        here, there = (x.score(PROMPTS[:1], SOLUTIONS[:1]) for x in (tiny.prm, served))
        assert_close(there, here, terms=roundings(tiny.prm.model), scale=1.0)


def test_equal_texts_are_sent_once(tiny: Tiny):
    answers, asked = pooling(tiny_outputs(tiny)), []

    def counted(path: str, body: dict[str, Any]) -> tuple[int, Any]:
        asked.append(body["input"])
        return answers(path, body)

    with answering(counted) as url:
        served = ServedProcessRewardModel(url, "prm", tiny.prm)
        served.score(PROMPTS[:1] * 3, SOLUTIONS[:1] * 3)
    assert len(asked) == 1


def test_formats_that_answer_with_a_verdict_are_refused():
    layout: Any = type("Layout", (), {"format": "math-shepherd"})()
    with pytest.raises(ValueError, match="'math-shepherd', which reads no reward head"):
        ServedProcessRewardModel("http://localhost:1", "m", layout)


def test_options_name_a_served_reward_model():
    options = ScorerOptions(
        scorer_endpoint="http://127.0.0.1:1", scorer_model="m", scorer_layout=str(PRM)
    )
    assert isinstance(scorer_from_options(options), ServedProcessRewardModel)
    named = ScorerOptions(
        scorer_endpoint="http://127.0.0.1:1",
        scorer_model="m",
        scorer_layout=f"orm={tiny.WEIGHTS / 'orm'}",
    )
    assert isinstance(scorer_from_options(named), ServedOutcomeRewardModel)
    with pytest.raises(ValueError, match="without scorer_endpoint"):
        ScorerOptions(scorer_layout=str(PRM))
