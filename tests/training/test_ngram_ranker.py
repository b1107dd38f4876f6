from pathlib import Path

import pytest
import torch

from reason_decode.scorers import NGramRanker
from reason_decode.training import (
    LabelledSolution,
    NGramRankerConfig,
    TrainingConfig,
    train_ngram_ranker,
)
from reason_decode.training import trainer as fitting
from reason_decode.training.ngram_ranker import _FeatureMatrix, _minimize, _pairs

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's own


def sums(shift: int) -> list[LabelledSolution]:
    return [
        LabelledSolution(
            f"{a} + 1 =", (f"{a} + 1 = {a + 1 + shift}", f"The answer is {x}."), (None,) * 2
        )
        for a in range(6)
        for x in (f"{a}" if shift == 0 else f"-{a}",)
    ]


def test_it_learns_to_rank_and_loads(tmp_path: Path) -> None:
    right, wrong = sums(0), sums(3)
    config = NGramRankerConfig(min_count=1)
    result = train_ngram_ranker(right, wrong, tmp_path, config, held_out=(right, wrong))
    assert result["examples"] == 6 and result["labels"] == 12 and result["pair_accuracy"] == 1
    ranker = NGramRanker.from_pretrained(tmp_path)
    good, bad = ranker.score(["7 + 1 ="] * 2, ["The answer is 7.", "The answer is -7."])
    assert float(good) > 0.5 > float(bad)


def test_samples_of_different_rows_are_not_paired(tmp_path: Path) -> None:
    right = [LabelledSolution("p", ("a",), (None,), source="one")]
    wrong = [LabelledSolution("p", ("b",), (None,), source="two")]
    with pytest.raises(ValueError, match="1 right and 1 wrong samples, and no problem with both"):
        train_ngram_ranker(right, wrong, tmp_path)


def test_the_gradient_is_zero_at_the_minimum() -> None:
    rows = [(sums(0)[k : k + 1], sums(3)[k : k + 1]) for k in range(6)]
    matrix = _FeatureMatrix([x for good, bad in rows for x in (*good, *bad)], "\n", 1)
    first, second, shares = pairs = _pairs(rows)
    assert shares.sum().item() == pytest.approx(1)
    config = NGramRankerConfig(weight_decay=0.01, max_steps=100)
    weights, loss, _ = _minimize(matrix, pairs, config)
    weights.requires_grad_()
    z = matrix.times(weights)
    again = (torch.nn.functional.softplus(z[second] - z[first]) * shares).sum()
    assert again.item() == pytest.approx(loss, rel=1e-4)
    (again + 0.005 * weights @ weights).backward()
    # The slopes of both terms, of which this is one, cancel out.
    slope = float(0.01 * weights.detach().norm())
    assert weights.grad is not None and float(weights.grad.norm()) < 1e-3 * slope


def test_bfloat16_is_off_without_hardware_support(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = TrainingConfig(bf16=True)
    for able in (True, False):
        monkeypatch.setattr(fitting, "has_native_bf16", lambda able=able: able)
        assert fitting._arguments(config, tmp_path, evaluated=False).bf16 is able
