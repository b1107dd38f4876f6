from typing import Any

import pytest
import torch
from reason_decode_kernels import (
    linear_token_logprobs,
    reference,
    token_logprobs,
    torch_backend,
)
from reason_decode_kernels.linear_token_logprobs import _linear_token_logprobs
from torch import Tensor

from tests.tolerance import assert_close, largest, logp_tolerance

INF = float("inf")
VARIED: list[dict[str, Any]] = [{}, {"softcap": 3.0}, {"softcap": 3.0, "temperature": 0.5}]


def sample(
    *shape: int, vocabulary: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(*shape, generator=generator).to(dtype)
    weight = torch.randn(vocabulary, shape[-1], generator=generator).to(dtype)
    return hidden, weight, torch.randint(0, vocabulary, shape[:-1], generator=generator)


def truth(hidden: Tensor, weight: Tensor, targets: Tensor, bias=None, **settings) -> Tensor:
    bias = None if bias is None else bias.double()
    return reference.linear_token_logprobs(
        hidden.double(), weight.double(), targets, bias, **settings
    )


def roundings(hidden: Tensor, weight: Tensor, bias=None, temperature: float = 1.0, **_) -> float:
    """Largest difference between float32 results; a softcap only makes the logits smaller."""
    logits = hidden.float() @ weight.float().T + (0 if bias is None else bias.float())
    return logp_tolerance(logits / temperature, width=hidden.shape[-1])


def blocked(monkeypatch: pytest.MonkeyPatch, vocabulary: int, tokens: int) -> None:
    """Sets small block sizes, so that small inputs take several blocks."""
    monkeypatch.setattr(torch_backend, "VOCABULARY_BLOCK", vocabulary)
    monkeypatch.setattr(torch_backend, "TOKEN_BLOCK", tokens)
    monkeypatch.setattr(torch_backend, "GROUP", 1)


@pytest.mark.numeric
@pytest.mark.parametrize("block", [(1, 1), (7, 4), (10, 22), (37, 21), (64, 64)])
def test_linear_matches_the_float64_reference_across_blocks(monkeypatch, block):
    hidden, weight, targets = sample(2, 11, 5, vocabulary=37)
    targets[0, :4] = -100
    bias = torch.linspace(-2, 2, 37)
    blocked(monkeypatch, *block)
    for shift in (None, bias):
        for settings in VARIED:
            result = linear_token_logprobs(hidden, weight, targets, bias=shift, **settings)
            expected = truth(hidden, weight, targets, shift, **settings).float()
            atol = roundings(hidden, weight, shift, **settings)
            torch.testing.assert_close(result, expected, rtol=0, atol=atol)


@pytest.mark.numeric
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("tokens", "width", "vocabulary"), [(1, 8, 1), (7, 5, 3), (17, 48, 101), (37, 80, 523)]
)
def test_errors_are_no_larger_than_those_of_float32_torch(
    monkeypatch, backend, device, dtype, tokens, width, vocabulary
):
    hidden, weight, targets = sample(tokens, width, vocabulary=vocabulary, dtype=dtype)
    targets[::5] = -100 if tokens > 1 else 0
    bias = torch.linspace(-2, 2, vocabulary).to(dtype)
    blocked(monkeypatch, 200, 16)
    for shift in (None, bias):
        for settings in VARIED:
            result = linear_token_logprobs(
                *(x.to(device) for x in (hidden, weight, targets)),
                bias=None if shift is None else shift.to(device),
                backend=backend,
                **settings,
            ).cpu()
            assert result.dtype == torch.float32
            expected = truth(hidden, weight, targets, shift, **settings)
            plain = reference.linear_token_logprobs(
                hidden.float(), weight.float(), targets, shift, **settings
            )
            allowed = (plain - expected).abs().max() + roundings(hidden, weight, shift, **settings)
            assert (result - expected).abs().max() <= allowed


@pytest.mark.numeric
def test_only_fast_rounds_the_logits(monkeypatch):
    """Rounded to 8 bits, many loss deltas that the mining filter looks for would be lost."""
    blocked(monkeypatch, 1000, 8)
    hidden, weight, targets = sample(20, 64, vocabulary=2500, dtype=torch.bfloat16)
    expected = truth(hidden, weight, targets)
    error = (linear_token_logprobs(hidden, weight, targets) - expected).abs().max()
    assert error < roundings(hidden, weight) < 1e-4
    rounded = linear_token_logprobs(hidden, weight, targets, fast=True)
    assert rounded.dtype == torch.float32
    assert 1e-3 < (rounded - expected).abs().max() < 0.2


@pytest.mark.numeric
def test_linear_keeps_float64_and_takes_mixed_dtypes():
    hidden, weight, targets = sample(6, 8, vocabulary=30, dtype=torch.float64)
    atol = logp_tolerance(hidden @ weight.T, width=8)
    for states in (hidden, hidden.bfloat16()):
        result = linear_token_logprobs(states, weight, targets)
        torch.testing.assert_close(result, truth(states, weight, targets), rtol=0, atol=atol)


def test_autocast_does_not_lower_the_precision():
    hidden, weight, targets = sample(6, 32, vocabulary=50)
    plain = linear_token_logprobs(hidden, weight, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(linear_token_logprobs(hidden, weight, targets), plain)


@pytest.mark.numeric
def test_agrees_with_token_logprobs_of_the_same_logits(backend, device):
    hidden, weight, targets = (x.to(device) for x in sample(3, 4, 16, vocabulary=60))
    torch.testing.assert_close(
        linear_token_logprobs(hidden, weight, targets, backend=backend),
        token_logprobs(hidden @ weight.T, targets, backend=backend),
        rtol=0,
        atol=roundings(hidden, weight),
    )


@pytest.mark.numeric
def test_results_are_deterministic_and_independent_of_the_batch(backend, device):
    hidden, weight, targets = (x.to(device) for x in sample(40, 16, vocabulary=300))
    whole = linear_token_logprobs(hidden, weight, targets, backend=backend)
    assert torch.equal(whole, linear_token_logprobs(hidden, weight, targets, backend=backend))
    alone = linear_token_logprobs(hidden[:1], weight, targets[:1], backend=backend)
    torch.testing.assert_close(alone, whole[:1], rtol=0, atol=roundings(hidden[:1], weight))


@pytest.mark.numeric
def test_linear_ignored_positions_are_zero_even_with_nan(backend, device):
    hidden, weight, targets = (x.to(device) for x in sample(4, 8, vocabulary=9))
    alone = linear_token_logprobs(hidden, weight, targets, backend=backend)
    hidden[1], targets[1] = float("nan"), -100
    result = linear_token_logprobs(hidden, weight, targets, backend=backend)
    assert result[1] == 0.0
    kept, atol = [0, 2, 3], roundings(hidden[[0, 2, 3]], weight)
    torch.testing.assert_close(result[kept], alone[kept], rtol=0, atol=atol)


def test_linear_of_empty_input_is_empty_with_a_zero_gradient(backend, device):
    hidden, weight, targets = (x.to(device) for x in sample(3, 8, vocabulary=9))
    empty = linear_token_logprobs(hidden[:0], weight, targets[:0], backend=backend)
    assert empty.shape == (0,)
    weight.requires_grad_()
    nothing = torch.full_like(targets, -100)
    linear_token_logprobs(hidden, weight, nothing, backend=backend).sum().backward()
    assert weight.grad is not None and not weight.grad.any()


@pytest.mark.numeric
def test_linear_takes_any_strides(backend, device):
    hidden, weight, targets = (x.to(device) for x in sample(3, 6, 8, vocabulary=20))
    whole = linear_token_logprobs(hidden, weight, targets, backend=backend)
    transposed = weight.T.contiguous().T
    moved = linear_token_logprobs(hidden.transpose(0, 1), transposed, targets.T, backend=backend)
    atol = roundings(hidden, weight)
    torch.testing.assert_close(moved, whole.T, rtol=0, atol=atol)
    wide = torch.zeros(20, 16, device=device)
    wide[:, ::2] = weight
    torch.testing.assert_close(
        linear_token_logprobs(hidden, wide[:, ::2], targets, backend=backend),
        whole,
        rtol=0,
        atol=atol,
    )


# Triton's interpreter computes with numpy, which warns of NaN and infinities.
@pytest.mark.numeric
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_and_infinities_act_as_in_token_logprobs(monkeypatch, backend, device):
    blocked(monkeypatch, 2, 2)
    hidden = torch.ones(6, 1)
    hidden[4], hidden[5] = float("nan"), INF
    bias = torch.tensor([-INF, 0.0, 0.0, 0.0])
    targets = torch.tensor([0, 1, 3, 4, 1, 1])
    weight = torch.tensor([0.0, 0.0, 0.0, 0.0])
    result = linear_token_logprobs(
        hidden.to(device),
        weight.unsqueeze(1).to(device),
        targets.to(device),
        bias=bias.to(device),
        backend=backend,
    ).cpu()
    assert result[0] == -INF
    torch.testing.assert_close(result[1:3], torch.full((2,), 1 / 3).log())
    assert result[3:].isnan().all()  # a target out of range, and hidden states of NaN and inf
    certain = torch.tensor([0.0, INF, 0.0, 0.0])
    result = linear_token_logprobs(
        torch.ones(2, 1, device=device),
        torch.ones(4, 1, device=device),
        torch.tensor([0, 1], device=device),
        bias=certain.to(device),
        backend=backend,
    )
    assert result[0] == -INF and result[1].isnan()


def test_linear_gradient_is_that_of_the_plain_expression(monkeypatch):
    hidden, weight, targets = sample(5, 3, vocabulary=7, dtype=torch.float64)
    targets[2] = -100
    bias = torch.zeros(7, dtype=torch.float64)
    blocked(monkeypatch, 3, 2)
    for tensor in (hidden, weight, bias):
        tensor.requires_grad_()
    for shift, settings in ((bias, {"softcap": 4.0, "temperature": 0.7}), (None, {})):
        assert torch.autograd.gradcheck(
            lambda h, w, b, shift=shift, settings=settings: linear_token_logprobs(
                h, w, targets, bias=None if shift is None else b, **settings
            ),
            (hidden, weight, bias),
        )


@pytest.mark.numeric
def test_gradients_equal_those_of_cross_entropy(monkeypatch, backend, device):
    blocked(monkeypatch, 30, 4)
    hidden, weight, targets = (x.to(device) for x in sample(9, 6, vocabulary=70))
    grads = []
    for loss in (
        lambda h, w: -linear_token_logprobs(h, w, targets, backend=backend).mean(),
        lambda h, w: torch.nn.functional.cross_entropy(h @ w.T, targets),
    ):
        leaves = [x.clone().requires_grad_() for x in (hidden, weight)]
        loss(*leaves).backward()
        grads.append([leaf.grad for leaf in leaves])
    for ours, theirs in zip(*grads, strict=True):
        # A gradient is a sum over tokens or over the vocabulary, of probabilities that err by as
        # much of themselves as their logits do in all.
        assert_close(ours, theirs, terms=9 + 70, scale=largest(theirs) * largest(hidden @ weight.T))


def test_linear_operator_passes_opcheck(backend, device):
    hidden, weight, targets = (x.to(device) for x in sample(4, 6, vocabulary=9))
    for leaf in (hidden, weight):
        leaf.requires_grad_()
    inputs = ([hidden], weight, targets, None, 3.0, -100, 0.7, False, backend)
    torch.library.opcheck(_linear_token_logprobs, inputs)


def test_backward_pass_holds_no_logits(largest_storage, monkeypatch):
    hidden, weight, targets = sample(300, 4, vocabulary=1000)
    blocked(monkeypatch, 100, 30)
    for leaf in (hidden, weight):
        leaf.requires_grad_()
    largest_storage.bytes = 0
    linear_token_logprobs(hidden, weight, targets).sum().backward()
    assert largest_storage.bytes <= 4 * max(100 * 30, 300 * 10, 1000 * 4)


def test_linear_memory_is_that_of_one_block(largest_storage, monkeypatch):
    hidden, weight, targets = sample(300, 4, vocabulary=1000, dtype=torch.bfloat16)
    blocked(monkeypatch, 100, 30)
    largest_storage.bytes = 0
    linear_token_logprobs(hidden, weight, targets)
    assert largest_storage.bytes <= 4 * max(100 * 30, 300 * 10, 300 * 4)
