"""Rows written after the schema in openai/prm800k's README and the oddities of its files."""

from typing import Any

import pytest

from reason_decode.training.labelled import LabelledSolution, dedupe_shared_steps
from reason_decode.training.prm800k import LeftOut, prm800k


def done(text: str, rating: Any, flagged: bool | None = None) -> dict[str, Any]:
    return {"text": text, "rating": rating, "flagged": flagged}


def step(*completions: Any, chosen: Any = 0, human: Any = None) -> dict[str, Any]:
    return {
        "completions": list(completions),
        "human_completion": human,
        "chosen_completion": chosen,
    }


def row(*steps: Any, finish: Any = "solution", **fields: Any) -> dict[str, Any]:
    question = {"problem": "p", "ground_truth_solution": "s", "ground_truth_answer": "6"}
    return {
        "labeler": "340d89bc",
        "timestamp": "2023-01-22T04:34:27.052924",
        "generation": None,
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": question,
        "label": {"steps": list(steps), "total_time": 278270, "finish_reason": finish},
        **fields,
    }


def read(*steps: Any, **fields: Any) -> list[Any]:
    """The solutions as (steps, labels), what was left out as its reason."""
    return [
        (found.steps, found.labels) if isinstance(found, LabelledSolution) else found.reason
        for found in prm800k(row(*steps, **fields))
    ]


def test_phase_1_alternatives_branch_off_the_chosen_path():
    steps = (
        step(done("a", -1), done("b", 1), chosen=1),
        step(done("c", 0), done("d", -1), done("e", 1), chosen=0),
    )
    assert read(*steps) == [
        (("b", "c"), (1, 0)),
        (("a",), (-1,)),
        (("b", "d"), (1, -1)),
        (("b", "e"), (1, 1)),
    ]
    path, *branches = prm800k(row(*steps))
    assert path == LabelledSolution("p", ("b", "c"), (1, 0), "6", True)
    assert all(isinstance(b, LabelledSolution) and b.correct is None for b in branches)


def test_every_rating_is_a_label_exactly_once():
    steps = [step(*(done(f"{k}{j}", r) for j, r in enumerate((1, 0, -1)))) for k in range(5)]
    solutions = [found for found in prm800k(row(*steps)) if isinstance(found, LabelledSolution)]
    learnt = {}
    for solution in dedupe_shared_steps(solutions):
        for text, label in zip(solution.steps, solution.labels, strict=True):
            if label is not None:
                assert text not in learnt
                learnt[text] = label
    assert learnt == {f"{k}{j}": r for k in range(5) for j, r in enumerate((1, 0, -1))}


def test_phase_2_has_one_completion_per_step_until_the_error():
    steps = (step(done("a", 0)), step(done("b", 1)), step(done("c", -1)))
    found = prm800k(row(*steps, finish="found_error", generation=9))
    assert found == [LabelledSolution("p", ("a", "b", "c"), (0, 1, -1), "6", None)]


def test_phase_2_ends_with_the_labelled_solution_at_the_error():
    last = step(done("wrong", -1), done("x", 0, False), done("y", -1, False), chosen=None)
    assert read(step(done("a", 1)), last, finish="found_error") == [
        (("a", "wrong"), (1, -1)),
        (("a", "x"), (1, 0)),
        (("a", "y"), (1, -1)),
    ]


@pytest.mark.parametrize("human", ["h", {"text": "h", "rating": None, "source": "human"}])
def test_a_human_completion_is_right_and_continues_the_path(human: Any):
    steps = (step(done("a", -1), chosen=None, human=human), step(done("b", 1)))
    assert read(*steps) == [(("h", "b"), (1, 1)), (("a",), (-1,))]
    alone = {"completions": None, "human_completion": human, "chosen_completion": None}
    assert read(alone, steps[1]) == [(("h", "b"), (1, 1))]


def test_a_human_completion_beside_a_chosen_one_is_a_branch():
    assert read(step(done("a", 1), human="h")) == [(("a",), (1,)), (("h",), (1,))]


def test_flagged_completions_have_no_label_and_stay_only_on_the_path():
    steps = (
        step(done("a", -1, True)),
        step(done("b", 1, False), done("c", 1, True), done("d", None, True)),
    )
    flagged = "flagged completion"
    assert read(*steps) == [(("a", "b"), (None, 1)), flagged, flagged, flagged]
    assert read(step(done("a", 1, True))) == ["no rated step", flagged]


def test_a_rating_may_be_null():
    steps = (step(done("a", None)), step(done("b", 1), done("c", None)))
    assert read(*steps) == [(("a", "b"), (None, 1)), "completion without a rating"]


def test_the_path_ends_at_a_step_without_a_choice():
    nothing = {"completions": None, "human_completion": None, "chosen_completion": None}
    found = prm800k(row(step(done("a", 1)), nothing, step(done("b", 1))))
    assert found == [
        LabelledSolution("p", ("a",), (1,), "6", None),
        LeftOut("step after one without a chosen completion"),
    ]
    assert read(nothing, finish="give_up") == read(finish="give_up") == ["no rated step"]


def test_ratings_before_giving_up_count():
    found = prm800k(row(step(done("a", 1)), finish="give_up"))
    assert found == [LabelledSolution("p", ("a",), (1,), "6", None)]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("screening", {"is_initial_screening_question": True, "generation": -1}),
        ("quality_control", {"is_quality_control_question": True}),
        ("bad_problem", {"finish": "bad_problem"}),
    ],
)
def test_some_rows_are_left_out_unless_included(name: str, fields: dict[str, Any]):
    odd = row(step(done("a", 1)), **fields)
    assert prm800k(odd) == [LeftOut(name)]
    (kept,) = prm800k(odd, include=[name])
    assert isinstance(kept, LabelledSolution) and kept.labels == (1,)
    twice = odd | {"is_quality_control_question": True, "is_initial_screening_question": True}
    assert isinstance(prm800k(twice, include=[name])[0], LeftOut)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (row(step(done("a", 2))), "step 1: got the rating 2"),
        (row(step(done("a", True))), "got the rating True"),
        (row(step(done("a", "1"))), "got the rating '1'"),
        (row(step(done("a", 1)), step(done("b", 1), chosen=1)), "step 2: got 1 as `chosen_comp"),
        (row(step(done("a", 1), chosen=-1)), "into a list of 1"),
        (row(step(done("a", 1), chosen=True)), "got True"),
        (row(step("a")), "got a completion 'a'"),
        (row(step({"rating": 1})), "completion's `text`"),
        (row(step(done("\udfff", 1))), "surrogates"),
        (row(step(done("a", 1), human=7)), "got a completion 7"),
        (row(step(done("a", 1, flagged="no"))), "`flagged`; need"),  # pyright: ignore
        (row({"completions": "a", "chosen_completion": 0}), "`completions`; need a list"),
        (row("a"), "step 1: got a JSON str"),
        (row(finish=None), "solution, found_error, give_up, bad_problem"),
        (row(is_quality_control_question="no"), "need true, false"),
        (row(question="p"), "`question`; need an object"),
        (row(question={"problem": " "}), "`problem`; need text"),
        (row(label={"finish_reason": "solution", "steps": None}), "`steps`; need a list"),
    ],
)
def test_malformed_rows_raise_with_the_reason_and_the_step(broken: dict[str, Any], reason: str):
    with pytest.raises(ValueError, match=reason):
        prm800k(broken)
