from types import SimpleNamespace
from typing import Any

import pytest
import torch

from reason_decode.training.examples import IGNORE, Example, collate
from reason_decode.training.losses import token_loss
from reason_decode.training.penalties import (
    add_penalty,
    contrastive_loss,
    negative_training,
    unlikelihood,
    unlikelihood_sequence,
)
from tests.tolerance import assert_close, largest

# Two questions; the second has two wrong solutions, of other lengths.
BATCH = collate(
    [
        Example([3, 4, 5, 6], [1, 2, 3], [5, 6, 2], (Example([3, 4, 7], [1, 2], [7, 2]),)),
        Example(
            [8, 9, 5],
            [1, 2],
            [5, 2],
            (
                Example([8, 9, 6, 6, 6], [1, 2, 3, 4], [6, 6, 6, 2]),
                Example([8, 9, 3], [1, 2], [3, 2]),
            ),
        ),
    ],
    pad=0,
)
LABELS, WRONG = BATCH["labels"], BATCH["wrong"]
PENALTIES = {
    "nt": negative_training,
    "ul": unlikelihood,
    "ul sequence": unlikelihood_sequence,
    "cl": contrastive_loss(0.3),
}


def outputs(dtype: torch.dtype = torch.float64, scale: float = 2.0) -> Any:
    random = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(5, 5, 11, generator=random, dtype=dtype)
    hidden = torch.randn(5, 5, 6, generator=random, dtype=dtype)
    return SimpleNamespace(logits=logits, hidden_states=(hidden + 9, hidden))


def _close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """A loss is a mean over at most 16 tokens, of logs of sums over 11 others and of 1 - p."""
    assert_close(found, expected, terms=16 + 11, scale=1.0 + largest(expected))


def probabilities(output: Any) -> list[list[float]]:
    """Of the tokens of each wrong row, one after the other."""
    p = output.logits.softmax(-1)
    return [
        [float(p[row, place, WRONG[row, place]]) for place in range(5) if WRONG[row, place] >= 0]
        for row in (1, 3, 4)
    ]


def test_wrong_rows_follow_their_right_row_and_are_labelled_apart():
    assert BATCH["input_ids"].tolist()[1] == [3, 4, 7, 0, 0]
    assert [(row >= 0).any().item() for row in LABELS] == [True, False, True, False, False]
    assert not ((LABELS >= 0) & (WRONG >= 0)).any()
    assert "wrong" not in collate([Example([3, 4], [0], [4])], pad=0)


@pytest.mark.numeric
def test_nt_and_ul_are_the_formulas():
    output = outputs()
    rows = [torch.tensor(row, dtype=torch.float64) for row in probabilities(output)]
    tokens = torch.cat(rows)
    _close(negative_training(output, LABELS, WRONG), tokens.log().mean())
    _close(unlikelihood(output, LABELS, WRONG), -(1 - tokens).log().mean())
    means = torch.stack([row.prod() ** (1 / len(row)) for row in rows])
    expected = -(1 - means).log().mean()
    _close(unlikelihood_sequence(output, LABELS, WRONG), expected)


@pytest.mark.numeric
def test_the_contrastive_loss_is_the_formula():
    output = outputs()
    hidden = output.hidden_states[-1]
    # Prompts are two tokens; solutions as long as there are labels but one, for the end.
    similar = [
        float(torch.cosine_similarity(hidden[row, :2].mean(0), hidden[row, 2:end].mean(0), dim=0))
        for row, end in enumerate((4, 3, 3, 5, 3))
    ]
    e = (torch.tensor(similar) / 0.3).exp()
    expected = -((e[0] / e[:2].sum()).log() + (e[2] / e[2:].sum()).log()) / 2
    _close(contrastive_loss(0.3)(output, LABELS, WRONG).float(), expected)
    with pytest.raises(ValueError, match="a temperature of 0"):
        contrastive_loss(0)


def test_the_contrastive_loss_is_0_without_wrong_candidates():
    alone = torch.full_like(WRONG[:1], IGNORE)
    output = SimpleNamespace(hidden_states=(outputs().hidden_states[-1][:1],))
    assert contrastive_loss(0.3)(output, LABELS[:1], alone) == 0


@pytest.mark.numeric
@pytest.mark.parametrize("name", PENALTIES)
def test_a_weight_of_0_or_no_wrong_row_is_the_token_loss(name):
    output = outputs()
    right = SimpleNamespace(logits=output.logits[[0, 2]])
    expected = token_loss(right, LABELS[[0, 2]])
    unpenalized = add_penalty(PENALTIES[name], 0.0)(output, LABELS, side_inputs=WRONG)
    _close(unpenalized, expected)
    _close(add_penalty(PENALTIES[name], 0.5)(right, LABELS[[0, 2]]), expected)
    whole = add_penalty(PENALTIES[name], 0.5)(output, LABELS, side_inputs=WRONG)
    penalty = PENALTIES[name](output, LABELS, WRONG)
    _close(whole.double(), expected + 0.5 * penalty.double())
    # A batch with half of the labels of an optimizer step counts half.
    half = add_penalty(PENALTIES[name], 0.5)(
        output, LABELS, 2 * (LABELS != IGNORE).sum(), side_inputs=WRONG
    )
    _close(half, whole / 2)


@pytest.mark.parametrize("name", ["nt", "ul", "ul sequence"])
def test_gradients_match_finite_differences(name):
    def loss(logits: torch.Tensor) -> torch.Tensor:
        return PENALTIES[name](SimpleNamespace(logits=logits), LABELS, WRONG)

    assert torch.autograd.gradcheck(loss, outputs().logits.requires_grad_())


@pytest.mark.parametrize("name", PENALTIES)
def test_extreme_logits_are_finite_and_right_rows_get_no_gradient(name):
    output = outputs(torch.float32, scale=1e4)
    logits, hidden = (x.requires_grad_() for x in (output.logits, output.hidden_states[-1]))
    found = PENALTIES[name](output, LABELS, WRONG)
    found.backward()
    gradient = hidden.grad if name == "cl" else logits.grad
    assert found.isfinite() and gradient is not None and gradient.isfinite().all()
    if name != "cl":
        assert not gradient[[0, 2]].any()
