import doctest
import math
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from reason_decode import RankingModel, tiny
from reason_decode.models.inputs import EncodedSolution
from reason_decode.scorers.encoder_session import truncate_pair
from reason_decode.training import LabelledSolution, RankerConfig, ranking_loss, train_ranker
from reason_decode.training.ranker import pair_accuracy
from reason_decode.training.ranking_batches import ranking_groups, take_targets
from tests.random_models import save_bert
from tests.tolerance import assert_close, roundings

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers', torch's and peft's own
FAST: dict[str, Any] = {
    **{"num_train_epochs": 25, "batch_size": 2, "learning_rate": 3e-3, "warmup_steps": 0}
}


def sums(shift: int, problems: int = 6) -> list[LabelledSolution]:
    """Two solutions of each problem; that of shift 0 is right."""
    return [
        LabelledSolution(f"{a} + 1 =\n", (f"{a} + 1 = {a + 1 + shift}", end), (None, None))
        for a in range(problems)
        for end in ("so", "thus")
    ]


RIGHT, WRONG = sums(0), sums(3)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return save_bert(tmp_path / "bert")


@pytest.mark.parametrize("loss", ["cubic", "logistic", "pointwise"])
def test_the_loss_is_the_mean_over_pairs(loss: Any) -> None:
    z = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    right = torch.tensor([True, False, True, False, False, True, False])
    terms = {
        "cubic": lambda a, b: (1 - a.sigmoid()) ** 3 + b.sigmoid() ** 3,
        "logistic": lambda a, b: -(a - b).sigmoid().log(),
        "pointwise": lambda a, b: -a.sigmoid().log() - (1 - b.sigmoid()).log(),
    }
    expected = torch.zeros((), dtype=z.dtype)
    for rows in (range(4), range(4, 7)):
        pairs = [(i, j) for i, j in product(rows, rows) if right[i] and not right[j]]
        expected += sum(terms[loss](z[i], z[j]) for i, j in pairs) / len(pairs)
    assert_close(ranking_loss(z, right, [4, 3], loss), expected, terms=16)


def test_right_solutions_alone_have_a_pointwise_loss() -> None:
    z = torch.zeros(2)
    right = torch.tensor([True, True])
    assert float(ranking_loss(z, right, [2], "pointwise")) == pytest.approx(math.log(2))


class Letters:
    def encode(self, prompt: str, steps: Any) -> EncodedSolution:
        ids = [ord(x) for x in steps[0]]
        return EncodedSolution(ids, [len(ids) - 1], [0]) if ids else EncodedSolution(ids, [])


def test_large_problems_are_split_into_mixed_groups() -> None:
    def solutions(prompt: str, letters: str) -> list[LabelledSolution]:
        return [LabelledSolution(prompt, (x,), (None,)) for x in letters]

    right = solutions("p", "abcde") + solutions("q", "a") + solutions("r", "ab")
    wrong = (
        solutions("p", "vwxyz")
        + solutions("q", "stuvwxyz")
        + [LabelledSolution("r", ("longer than it may be",), (None,))]
    )
    found, too_long = ranking_groups(right, wrong, Letters(), max_solutions=4, max_length=9)
    assert too_long == 1
    texts = [["".join(map(chr, x.ids)) for x in group.solutions] for group in found]
    # Three of the first problem, one of the second that loses what does not fit, none of the third.
    assert len(found) == 4
    assert all(len(x.solutions) <= 4 and {*x.right} == {True, False} for x in found)
    assert sorted(sum(texts[:3], [])) == sorted("abcdevwxyz")
    assert texts[3] == ["a", "s", "t", "u"]
    assert len(ranking_groups(right, wrong, Letters(), max_length=9, mixed=False)[0]) == 3


@pytest.mark.parametrize("loss", ["cubic", "logistic", "pointwise"])
def test_an_encoder_learns_to_rank_and_loads(tmp_path, bert, loss):
    tokenizer = tiny.load().tokenizer
    result = train_ranker(
        bert,
        tokenizer,
        RIGHT,
        WRONG,
        tmp_path / "out",
        RankerConfig(loss=loss, window=40, **FAST),
        held_out=(RIGHT[:4], WRONG[:4]),
    )
    assert result["examples"] == 6 and result["labels"] == 24 and result["pair_accuracy"] > 0.9
    ranker = RankingModel.from_pretrained(tmp_path / "out")
    assert ranker.window == 40
    assert (pair_accuracy(ranker, RIGHT, WRONG) or 0) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, 4])
def test_a_causal_model_learns_and_a_trained_ranker_continues(tmp_path, lora):
    if lora:
        pytest.importorskip("peft", reason="LoRA needs peft")
    base, tokenizer = tiny.WEIGHTS / "base", tiny.load().tokenizer
    config = RankerConfig(
        num_train_epochs=15, batch_size=2, learning_rate=3e-3 if lora else 3e-4, lora_rank=lora
    )
    first = train_ranker(base, tokenizer, RIGHT, WRONG, tmp_path / "first", config)
    assert first["pair_accuracy"] is None and first["loss"] < 0.2
    ranker = RankingModel.from_pretrained(tmp_path / "first")
    assert (pair_accuracy(ranker, RIGHT, WRONG) or 0) > 0.9
    short = RankerConfig(num_train_epochs=1, batch_size=6, learning_rate=1e-5)
    then = train_ranker(
        tmp_path / "first",
        tokenizer,
        RIGHT,
        WRONG,
        tmp_path / "then",
        short,
        held_out=(RIGHT, WRONG),
    )
    assert then["held_out_loss"] < 0.2


@pytest.mark.slow
def test_a_stopped_run_resumes_to_the_same_weights(tmp_path, bert, monkeypatch):
    tokenizer = tiny.load().tokenizer
    config = RankerConfig(num_train_epochs=1, batch_size=1, learning_rate=3e-3, save_steps=2)
    train_ranker(bert, tokenizer, RIGHT, WRONG, tmp_path / "whole", config)

    class Killed(Exception):
        pass

    read: list[int] = []

    def dies(*batch: Any) -> Any:
        read.append(1)
        if len(read) == 4:
            raise Killed
        return take_targets(*batch)

    with monkeypatch.context() as broken:
        broken.setattr("reason_decode.training.frozen_ranker.take_targets", dies)
        with pytest.raises(Killed):
            train_ranker(bert, tokenizer, RIGHT, WRONG, tmp_path / "cut", config)
    result = train_ranker(bert, tokenizer, RIGHT, WRONG, tmp_path / "cut", config)
    assert result["steps"] == 6
    whole, cut = (RankingModel.from_pretrained(tmp_path / x) for x in ("whole", "cut"))
    asked = [x.prompt for x in WRONG], [list(x.steps) for x in WRONG]
    assert_close(cut.score(*asked), whole.score(*asked), terms=roundings(whole.model))


def test_rejects_invalid_arguments(tmp_path, bert):
    tokenizer = tiny.load().tokenizer
    with pytest.raises(ValueError, match="12 right and 0 wrong samples, and no problem with both"):
        train_ranker(bert, tokenizer, RIGHT, [], tmp_path)
    with pytest.raises(ValueError, match="got loss='pairs'; allowed are 'cubic', 'logistic'"):
        RankerConfig(loss="pairs")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="got max_solutions_per_problem=1"):
        RankerConfig(max_solutions_per_problem=1)


@pytest.mark.parametrize("shown", [ranking_loss, truncate_pair])
def test_docstring_examples_run(shown: Any) -> None:
    (example,) = doctest.DocTestFinder(recurse=False).find(shown, shown.__name__, globs={})
    example.globs[shown.__name__] = shown
    assert example.examples and not doctest.DocTestRunner(verbose=False).run(example).failed
