import pytest
import torch
from reason_decode_kernels import linear_token_logprobs, token_logprobs
from torch import Tensor


def reference(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    bias: Tensor | None = None,
    softcap: float | None = None,
) -> Tensor:
    logits = hidden.double() @ weight.double().T
    if bias is not None:
        logits = logits + bias.double()
    if softcap is not None:
        logits = softcap * (logits / softcap).tanh()
    kept = targets != -100
    picked = logits.log_softmax(-1).gather(-1, targets.where(kept, 0).unsqueeze(-1)).squeeze(-1)
    return picked.where(kept, 0.0)


def sample(
    *shape: int, vocabulary: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(*shape, generator=generator).to(dtype)
    weight = torch.randn(vocabulary, shape[-1], generator=generator).to(dtype)
    return hidden, weight, torch.randint(0, vocabulary, shape[:-1], generator=generator)


def blocked(monkeypatch: pytest.MonkeyPatch, vocabulary: int, tokens: int) -> None:
    """Makes blocks of ``vocabulary`` x ``tokens``, so that small inputs take several."""
    names = linear_token_logprobs.__globals__
    monkeypatch.setitem(names, "VOCABULARY_BLOCK", vocabulary)
    monkeypatch.setitem(names, "TOKEN_BLOCK", tokens)


@pytest.mark.parametrize("block", [(1, 1), (7, 4), (10, 22), (37, 21), (64, 64)])
def test_matches_float64_reference_across_block_borders(monkeypatch, block):
    hidden, weight, targets = sample(2, 11, 5, vocabulary=37)
    targets[0, :4] = -100
    bias = torch.linspace(-2, 2, 37)
    blocked(monkeypatch, *block)
    for shift, cap in ((None, None), (bias, None), (None, 3.0), (bias, 3.0)):
        result = linear_token_logprobs(hidden, weight, targets, bias=shift, softcap=cap)
        expected = reference(hidden, weight, targets, shift, cap).float()
        torch.testing.assert_close(result, expected, rtol=0, atol=3e-6)


def test_low_precision_inputs_are_not_rounded_on_the_way(monkeypatch):
    blocked(monkeypatch, 1000, 8)
    for dtype in (torch.float16, torch.bfloat16):
        hidden, weight, targets = sample(20, 64, vocabulary=2500, dtype=dtype)
        result = linear_token_logprobs(hidden, weight, targets)
        assert result.dtype == torch.float32
        assert (result - reference(hidden, weight, targets)).abs().max() < 3e-5


def test_float64_stays_float64_and_dtypes_may_differ():
    hidden, weight, targets = sample(6, 8, vocabulary=30, dtype=torch.float64)
    expected = reference(hidden, weight, targets)
    torch.testing.assert_close(
        linear_token_logprobs(hidden, weight, targets), expected, rtol=0, atol=1e-13
    )
    narrow = hidden.bfloat16()
    mixed = linear_token_logprobs(narrow, weight, targets)
    torch.testing.assert_close(mixed, reference(narrow, weight, targets), rtol=0, atol=1e-13)


def test_autocast_does_not_lower_the_precision():
    hidden, weight, targets = sample(6, 32, vocabulary=50)
    plain = linear_token_logprobs(hidden, weight, targets)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(linear_token_logprobs(hidden, weight, targets), plain)


def test_agrees_with_token_logprobs_of_the_same_logits():
    hidden, weight, targets = sample(3, 4, 16, vocabulary=60)
    torch.testing.assert_close(
        linear_token_logprobs(hidden, weight, targets),
        token_logprobs(hidden @ weight.T, targets),
        rtol=0,
        atol=5e-6,
    )


def test_ignored_positions_are_exactly_zero_whatever_they_hold():
    hidden, weight, targets = sample(4, 8, vocabulary=9)
    alone = linear_token_logprobs(hidden, weight, targets)
    hidden[1], targets[1] = float("nan"), -100
    result = linear_token_logprobs(hidden, weight, targets)
    assert result[1] == 0.0
    torch.testing.assert_close(result[[0, 2, 3]], alone[[0, 2, 3]])


def test_empty_input_gives_empty_result_and_a_zero_gradient():
    hidden, weight, targets = sample(3, 8, vocabulary=9)
    assert linear_token_logprobs(hidden[:0], weight, targets[:0]).shape == (0,)
    weight.requires_grad_()
    linear_token_logprobs(hidden, weight, torch.full_like(targets, -100)).sum().backward()
    assert weight.grad is not None and not weight.grad.any()


def test_strides_do_not_matter():
    hidden, weight, targets = sample(3, 6, 8, vocabulary=20)
    whole = linear_token_logprobs(hidden, weight, targets)
    transposed = weight.T.contiguous().T
    moved = linear_token_logprobs(hidden.transpose(0, 1), transposed, targets.T)
    torch.testing.assert_close(moved, whole.T, rtol=0, atol=2e-6)


def test_nan_and_infinities_act_as_in_token_logprobs(monkeypatch):
    blocked(monkeypatch, 2, 2)
    hidden = torch.ones(5, 1)
    hidden[4] = float("nan")
    bias = torch.tensor([-float("inf"), 0.0, 0.0, 0.0])
    targets = torch.tensor([0, 1, 3, 4, 1])
    result = linear_token_logprobs(hidden, torch.zeros(4, 1), targets, bias=bias)
    assert result[0] == -float("inf")
    torch.testing.assert_close(result[1:3], torch.full((2,), 1 / 3).log())
    assert result[3:].isnan().all()  # a target past the vocabulary, and a NaN state


def test_gradient_is_that_of_the_plain_expression(monkeypatch):
    hidden, weight, targets = sample(5, 3, vocabulary=7, dtype=torch.float64)
    targets[2] = -100
    bias = torch.zeros(7, dtype=torch.float64)
    blocked(monkeypatch, 3, 2)
    for tensor in (hidden, weight, bias):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda h, w, b: linear_token_logprobs(h, w, targets, bias=b, softcap=4.0),
        (hidden, weight, bias),
    )


def test_memory_is_one_block_not_the_logits(largest_storage, monkeypatch):
    hidden, weight, targets = sample(300, 4, vocabulary=1000, dtype=torch.bfloat16)
    blocked(monkeypatch, 100, 30)
    largest_storage.bytes = 0
    with torch.no_grad():
        linear_token_logprobs(hidden, weight, targets)
    assert largest_storage.bytes <= 4 * max(100 * 30, 300 * 10, 300 * 4)
