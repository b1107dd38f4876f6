from typing import Any

import pytest
import torch
from torch import nn

from reason_decode.tiny.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_singular_values_become_nearly_one_and_the_vectors_stay(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(*shape)
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    told = u.T @ orthogonal(matrix) @ v.T
    assert ((told.diagonal() > 0.6) & (told.diagonal() < 1.3)).all()
    # Five iterations enlarge errors, by up to 3.4 each.
    apart = (told - told.diagonal().diag()).abs().max()
    assert apart < 1e-4 * told.diagonal().abs().max()


def test_its_steps_are_torch_s_up_to_bfloat16() -> None:
    torch.manual_seed(0)
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 40).reshape(5, 8)) for _ in range(2))
    how: Any = {"lr": 0.01, "weight_decay": 0.1}
    steps = Muon([ours], **how), torch.optim.Muon([theirs], **how, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradient = torch.randn(5, 8)
        for w, optimizer in zip((ours, theirs), steps, strict=True):
            w.grad = gradient.clone()
            optimizer.step()
    moved = (ours - torch.linspace(-1, 1, 40).reshape(5, 8)).norm()
    assert (ours - theirs).norm() < 0.02 * moved
