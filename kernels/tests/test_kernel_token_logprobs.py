import pytest
import torch
from reason_decode_kernels import token_logprobs
from torch import Tensor

INF = float("inf")


def reference(logits: Tensor, targets: Tensor) -> Tensor:
    kept = targets != -100
    safe = torch.where(kept, targets, 0)
    logp = logits.double().log_softmax(-1).gather(-1, safe.unsqueeze(-1)).squeeze(-1)
    return torch.where(kept, logp, 0.0)


def sample(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(*shape, generator=generator)).to(dtype)
    return logits, torch.randint(0, shape[-1], shape[:-1], generator=generator)


def chunked(monkeypatch: pytest.MonkeyPatch, elements: int) -> None:
    """Makes chunks of ``elements``, so that small inputs take several."""
    monkeypatch.setitem(token_logprobs.__globals__, "CHUNK", elements)


def test_matches_float64_reference_across_chunk_borders(monkeypatch):
    logits, targets = sample(3, 11, 37)
    targets[0, :4] = -100
    for elements in (1, 37 * 4, 37 * 29, 37 * 1000):
        chunked(monkeypatch, elements)
        result = token_logprobs(logits, targets)
        torch.testing.assert_close(result, reference(logits, targets).float(), rtol=0, atol=2e-6)


def test_low_precision_logits_are_summed_in_float32():
    for dtype in (torch.float16, torch.bfloat16):
        logits, targets = sample(5, 20_000, dtype=dtype)
        result = token_logprobs(logits, targets)
        assert result.dtype == torch.float32
        assert (result - reference(logits, targets)).abs().max() < 1e-5


def test_float64_stays_float64():
    logits, targets = sample(7, 100, dtype=torch.float64)
    result = token_logprobs(logits, targets)
    torch.testing.assert_close(result, reference(logits, targets), rtol=0, atol=1e-14)


def test_ignored_positions_are_exactly_zero_whatever_their_logits():
    logits, targets = sample(4, 9)
    logits[1], targets[1] = float("nan"), -100
    result = token_logprobs(logits, targets)
    assert result[1] == 0.0
    assert result[[0, 2, 3]].isfinite().all()
    assert token_logprobs(logits, targets.where(targets != -100, 7), ignore_index=7)[1] == 0.0


def test_empty_input_gives_empty_result_and_a_zero_gradient():
    logits = torch.randn(2, 0, 5, requires_grad=True)
    result = token_logprobs(logits, torch.empty(2, 0, dtype=torch.int64))
    assert result.shape == (2, 0)
    logits, targets = sample(2, 5)
    logits.requires_grad_()
    token_logprobs(logits, torch.full_like(targets, -100)).sum().backward()
    assert logits.grad is not None and not logits.grad.any()


def test_strides_do_not_matter(monkeypatch):
    logits, targets = sample(3, 6, 8)
    chunked(monkeypatch, 16)
    whole = token_logprobs(logits, targets)
    assert torch.equal(token_logprobs(logits[:, :-1], targets[:, :-1]), whole[:, :-1])
    assert torch.equal(token_logprobs(logits.mT.contiguous().mT, targets), whole)
    assert torch.equal(token_logprobs(logits.transpose(0, 1), targets.T), whole.T)


def test_nan_and_infinities_stay_in_their_row():
    logits, targets = torch.zeros(5, 3), torch.zeros(5, dtype=torch.int64)
    logits[0, 0] = -INF
    logits[1] = -INF
    logits[2, 0] = INF
    logits[3, 1] = INF
    logits[4, 2] = float("nan")
    result = token_logprobs(
        torch.cat([logits, torch.zeros(1, 3)]), torch.cat([targets, targets[:1]])
    )
    assert result[[0, 3]].tolist() == [-INF, -INF]
    assert result[[1, 2, 4]].isnan().all()
    torch.testing.assert_close(result[5], torch.tensor(1 / 3).log())


def test_gradient_is_that_of_log_softmax(monkeypatch):
    logits, targets = sample(4, 6, dtype=torch.float64)
    targets[2] = -100
    chunked(monkeypatch, 6)
    assert torch.autograd.gradcheck(lambda x: token_logprobs(x, targets), logits.requires_grad_())


def test_memory_is_one_chunk_not_the_logits(largest_storage, monkeypatch):
    logits, targets = sample(64, 50, 400)
    chunked(monkeypatch, 400 * 8)
    largest_storage.bytes = 0
    token_logprobs(logits[:, :-1], targets[:, :-1])
    # 8 rows of logits in float32; the row and column indices of all positions are larger.
    assert largest_storage.bytes <= max(4 * 400 * 8, 2 * 8 * targets.numel())
    assert logits.untyped_storage().nbytes() > 50 * largest_storage.bytes
