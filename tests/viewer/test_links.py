from dataclasses import replace
from typing import Any

import pytest
import torch

from reason_decode import StepSearch
from reason_decode.records import Step, Trace
from reason_decode.strategies import step_search
from reason_decode.tiny import Tiny
from reason_decode.viewer.links import link
from tests.viewer.traces import best_of, search, step


def test_steps_continue_what_the_beam_held_at_their_place():
    links = link(search())
    assert links.parents == ((None, None, None), (1, 1, 0), (0, 0))
    assert links.sure


def test_without_rounds_there_is_nothing_to_link():
    assert link(best_of(("a", "b"))).parents == ()


def test_links_that_explain_no_candidate_are_not_sure():
    trace = search()
    assert not link(replace(trace, candidates=(*trace.candidates, best_of(("x",)).best))).sure


@pytest.mark.parametrize(
    "rounds",
    [
        ((), (step("a", 1.0, parent=3),)),
        ((step("a", 1.0),), (step("b", 1.0, parent=-7), step("c", 1.0, parent=9))),
        ((step("a", 1.0, kept=True, end=True),), (), (step("b", 0.5),)),
        ((Step("a", None, None, 0, True, False, 1),) * 3, (step("b", 0.5, parent=2),)),
    ],
)
def test_rounds_that_no_search_leaves_behind_are_linked_somehow(rounds: Any):
    links = link(replace(search(), rounds=rounds))
    assert not links.sure
    for before, parents in zip(rounds, links.parents[1:], strict=False):
        assert all(k is None or 0 <= k < len(before) for k in parents)


@pytest.mark.parametrize(
    "how",
    [
        {"beam_width": 3},
        {"beam_width": 4, "subtrees": 2},
        {"beam_width": 2, "lookahead": 1},
        {"beam_width": 3, "margin": 0.5, "max_tokens": 300},
    ],
)
def test_links_are_those_of_the_search(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch, how: dict[str, Any]
):
    truth: list[list[int | None]] = []
    before: list[Any] = []
    keep_best = step_search._Search._keep_best

    def spied(self: Any, p: int, fresh: Any) -> Any:
        pairs = [
            (path, self.beams[p][place])
            for row, (_, place) in enumerate(self.live)
            for path in fresh[row]
        ]
        at = {path: k for k, path in enumerate(before)}
        truth.append([at.get(parent) for _, parent in pairs])
        before[:] = [path for path, _ in pairs]
        return keep_best(self, p, fresh)

    monkeypatch.setattr(step_search._Search, "_keep_best", spied)
    strategy = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=3, **how)
    trace = _trace(tiny, strategy)
    links = link(trace)
    assert links.sure
    assert [list(parents) for parents in links.parents] == truth
    assert len(truth) > 2


def _trace(tiny: Tiny, strategy: StepSearch) -> Trace:
    inputs = tiny.tokenizer(["Make 24 from 4 5 6 10.\n"], return_tensors="pt")
    torch.manual_seed(0)
    out: Any = tiny.model.generate(
        **inputs,
        do_sample=True,
        max_new_tokens=96,
        return_dict_in_generate=True,
        custom_generate=strategy,
    )
    return out.traces[0]
