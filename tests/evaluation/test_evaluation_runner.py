import json
from typing import Any

import pytest

from reason_decode.evaluation.metrics import accuracy_interval
from reason_decode.evaluation.runner import evaluate
from reason_decode.strategies import SelfConsistency
from reason_decode.tasks import TASKS, arithmetic_item
from tests.fakes import ByteTokenizer, Guided, ScriptedModel

ITEMS = [arithmetic_item(f"{k} + {k}", id=k) for k in range(5)]


def solve(prompt: str) -> str:
    """Right for 0 + 0 to 2 + 2."""
    return f"So the answer is {min(int(prompt[0]), 2) * 2}."


def run(model: ScriptedModel, strategy: Any = None, **how: Any) -> dict[str, Any]:
    tokenizer: Any = ByteTokenizer()
    how = {"batch_size": 2, "temperature": 0.0, "seed": 3, **how}
    return evaluate(model, tokenizer, strategy, ITEMS, TASKS["bbh-arithmetic"], **how)


def test_the_result_has_settings_counts_and_rows():
    result = run(ScriptedModel(solve))
    assert list(result)[:8] == "task strategy n seed items correct accuracy ci95".split()
    assert (result["task"], result["strategy"], result["n"]) == ("bbh-arithmetic", "greedy", 1)
    assert (result["seed"], result["items"], result["correct"]) == (3, 5, 3)
    assert result["accuracy"] == 0.6 and result["ci95"] == list(accuracy_interval(3, 5))
    assert [row["correct"] for row in result["rows"]] == [True, True, True, False, False]
    assert result["rows"][1] == {"id": 1, "correct": True, "text": "So the answer is 2."}
    assert "pass_at_n" not in result and json.loads(json.dumps(result)) == result


def test_a_run_without_any_right_item_is_warned_of(caplog: pytest.LogCaptureFixture):
    run(ScriptedModel(solve))
    assert caplog.text == ""
    assert run(ScriptedModel(lambda prompt: "So the answer is -1."))["correct"] == 0
    assert "bbh-arithmetic: none of 5 is graded right" in caplog.text
    assert "states the answer '-1', the reference is '0'" in caplog.text


def test_items_run_in_order_in_batches_of_one_seed():
    model = ScriptedModel(solve)
    run(model)
    assert [call["prompts"] for call in model.calls] == [
        [item.prompt for item in ITEMS[at : at + 2]] for at in (0, 2, 4)
    ]
    assert {call["seed"] for call in model.calls} == {3}
    budget = TASKS["bbh-arithmetic"].max_new_tokens
    assert {call["max_new_tokens"] for call in model.calls} == {budget}


def test_pass_at_n_counts_items_with_any_right_candidate():
    strategy = Guided(lambda prompt: ["So the answer is 8.", solve(prompt)])
    result = run(ScriptedModel(), strategy, temperature=1.0)
    assert (result["correct"], result["pass_at_n"]) == (3, 0.8)
    assert result["cost"] == {
        "generator": {"prefill": 3, "decode": 6, "sampled": 9},
        "scorer": {"read": 12},
    }


def test_results_name_strategies_as_the_commands_do():
    tokenizer: Any = ByteTokenizer()
    strategy = SelfConsistency(tokenizer=tokenizer, n=4)

    class Model(ScriptedModel):
        def generate(self, *, custom_generate: Any = None, **kwargs: Any) -> Any:
            guided = Guided(lambda prompt: ["x"])
            return super().generate(custom_generate=custom_generate and guided, **kwargs)

    result = run(Model(), strategy, temperature=1.0)
    assert (result["strategy"], result["n"]) == ("self-consistency", 4)
    assert run(Model(solve), temperature=1.0)["strategy"] == "sample"


@pytest.mark.parametrize(
    "how", [{"batch_size": 0}, {"max_new_tokens": 0}, {"temperature": -1}, {"temperature": 1e999}]
)
def test_rejects_invalid_arguments_before_any_work(how: dict[str, Any]):
    model = ScriptedModel(solve)
    with pytest.raises(ValueError, match=f"got {next(iter(how))}="):
        run(model, **how)
    assert model.calls == []
