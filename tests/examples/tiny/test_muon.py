from typing import Any

import pytest
import torch
from torch import nn

from examples.tiny.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_orthogonalize_makes_singular_values_one_and_keeps_singular_vectors(
    shape: tuple[int, int],
) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(*shape)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    diagonal = u.T @ orthogonalize(matrix) @ v.T
    assert ((diagonal.diagonal() > 0.6) & (diagonal.diagonal() < 1.3)).all()
    # Five iterations enlarge errors, by up to 3.4 each.
    apart = (diagonal - diagonal.diagonal().diag()).abs().max()
    assert apart < 1e-4 * diagonal.diagonal().abs().max()


def test_steps_equal_those_of_torch_up_to_bfloat16() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 40).reshape(5, 8)) for _ in range(2))
    options: Any = {"lr": 0.01, "weight_decay": 0.1}
    steps = (
        Muon([ours], **options),
        torch.optim.Muon([theirs], **options, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(3):
        gradient = torch.randn(5, 8)
        for w, optimizer in zip((ours, theirs), steps, strict=True):
            w.grad = gradient.clone()
            optimizer.step()
    moved = (ours - torch.linspace(-1, 1, 40).reshape(5, 8)).norm()
    assert (ours - theirs).norm() < 0.02 * moved
