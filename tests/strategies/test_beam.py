"""The trajectories that a beam keeps, without models."""

from typing import Any

import pytest
import torch

from reason_decode.generation.sampling import Branch
from reason_decode.strategies.step_search import (
    Trajectory,
    ranked_results,
    select_beam,
)


def path(total: float, text: str = "", *, ended: str = "", subtree: int = 0) -> Trajectory:
    """A trajectory: active, or ended as "finished" or "cut"."""
    tokens = torch.tensor([ord(x) for x in text], dtype=torch.long)
    branch = Branch(tokens, ended == "finished", ended in ("finished", "cut"), remaining_tokens=9)
    return Trajectory(
        tokens, text, tuple(text), torch.tensor([total]), total, branch, subtree=subtree
    )


def totals(paths: list[Trajectory]) -> list[float]:
    return [x.total for x in paths]


def kept(paths: list[Trajectory], width: int, **settings: Any) -> list[float]:
    plain: dict[str, Any] = {"subtrees": 1, "state_key": None, "margin": None}
    return totals(select_beam(paths, width=width, **{**plain, **settings}))


def test_the_best_are_kept_and_cut_ones_come_last() -> None:
    paths = [path(0.2), path(0.9, ended="cut"), path(0.5, ended="finished"), path(0.7)]
    assert kept(paths, 2) == [0.7, 0.5]
    assert kept(paths, 9) == [0.7, 0.5, 0.2, 0.9]


def test_of_equal_totals_the_first_is_kept() -> None:
    first, second = path(0.5, "a"), path(0.5, "b")
    plain: dict[str, Any] = {"subtrees": 1, "state_key": None, "margin": None}
    assert select_beam([first, second], width=1, **plain) == [first]


def test_each_subtree_keeps_its_own_best() -> None:
    paths = [path(0.9), path(0.8), path(0.2, subtree=1), path(0.1, subtree=1)]
    assert kept(paths, 2, subtrees=2) == [0.9, 0.2]


def test_one_trajectory_of_each_state_is_kept() -> None:
    paths = [path(0.9, "ab"), path(0.8, "ba"), path(0.7, "aa")]
    assert kept(paths, 2, state_key=lambda steps: frozenset(steps)) == [0.9, 0.7]


def test_the_margin_counts_from_the_best_of_the_subtree() -> None:
    paths = [path(0.9), path(0.85), path(0.5), path(0.3, subtree=1), path(0.25, subtree=1)]
    assert kept(paths, 6, subtrees=2, margin=0.1) == [0.9, 0.85, 0.3, 0.25]


def test_a_margin_never_drops_what_finished_for_what_was_cut_off() -> None:
    paths = [path(0.1, ended="finished"), path(0.9, ended="cut")]
    assert kept(paths, 2, margin=0.0) == [0.1, 0.9]


def test_results_are_ranked_and_repeated_to_the_count() -> None:
    beam = [path(0.9), path(0.1, ended="finished"), path(0.5, ended="finished")]
    assert totals(ranked_results(beam, 1)) == [0.5, 0.1, 0.9]
    assert totals(ranked_results(beam[1:], 3)) == [0.5, 0.1, 0.5]


def test_a_key_that_cannot_be_hashed_is_refused() -> None:
    with pytest.raises(TypeError, match="got a list from state_key, which cannot be hashed"):
        kept([path(0.5)], 1, state_key=list)
