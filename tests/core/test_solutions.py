import json

import pytest

from reason_decode.core.solutions import Candidate, Cost, Step, Trace, to_steps
from reason_decode.core.splitting import StepSplitter


def test_lists_of_steps_are_taken_as_they_are() -> None:
    assert to_steps(["a\nb", ["a\nb"]], StepSplitter()) == [["a", "b"], ["a\nb"]]


def test_costs_add_by_role() -> None:
    total = Cost(1, 2, 3, 4) + Cost(prefill=10, scorer=5)
    assert total == Cost(11, 2, 3, 9)
    assert total.to_dict() == {
        "generator": {"prefill": 11, "decode": 2, "sampled": 3},
        "scorer": {"read": 9},
    }


def test_a_trace_survives_json() -> None:
    candidates = (Candidate("a", ("a",), (0.2,), 0.2), Candidate("b", ("b",), (0.9,), 0.9))
    step = Step("b", 0.9, 0.9, parent=None, kept=True, finished=False, tokens=1)
    trace = Trace("p", "BestOfN", candidates, chosen=(1, 0), rounds=((step,),))
    assert trace.best.text == "b"
    again = json.loads(json.dumps(trace.to_dict()))
    assert again["candidates"][1]["total"] == 0.9
    assert again["rounds"][0][0]["kept"] is True
    assert Trace.from_dict(again) == trace
    with pytest.raises(TypeError, match="candidates|missing"):
        Trace.from_dict({**again, "candidates": [{"steps": [], "scores": []}]})


@pytest.mark.parametrize(
    "parents", [((0,),), ((None,), (None,)), ((None,), (1,)), ((None,), (-1,))]
)
def test_traces_reject_steps_without_a_parent_in_the_round_before(
    parents: tuple[tuple[int | None, ...], ...],
) -> None:
    rounds = tuple(
        tuple(Step("a", 0.5, 0.5, parent, True, False, 1) for parent in one) for one in parents
    )
    with pytest.raises(ValueError, match="got parent="):
        Trace("p", "StepSearch", (Candidate("a", ("a",)),), chosen=(0,), rounds=rounds)


def test_a_notebook_shows_a_trace_as_a_page() -> None:
    trace = Trace("p <b>", "BestOfN", (Candidate("a", ("a",), (0.2,), 0.2),), chosen=(0,))
    shown = trace._repr_html_()
    assert shown.startswith("<iframe ") and shown.endswith("</iframe>")
    assert 'sandbox="allow-scripts"' in shown and "<b>" not in shown
