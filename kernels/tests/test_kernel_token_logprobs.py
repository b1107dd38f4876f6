import pytest
import torch
from reason_decode_kernels import reference, token_logprobs, torch_backend
from reason_decode_kernels.token_logprobs import _token_logprobs
from torch import Tensor

from tests.tolerance import logp_tolerance

INF = float("inf")


def sample(*shape: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(*shape, generator=generator)).to(dtype)
    return logits, torch.randint(0, shape[-1], shape[:-1], generator=generator)


def truth(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> Tensor:
    return reference.token_logprobs(logits.double(), targets, temperature=temperature)


@pytest.mark.numeric
@pytest.mark.parametrize("elements", [1, 37 * 4, 37 * 29, 37 * 1000])
def test_matches_the_float64_reference_across_chunks(monkeypatch, elements):
    logits, targets = sample(3, 11, 37)
    targets[0, :4] = -100
    monkeypatch.setattr(torch_backend, "CHUNK", elements)
    for temperature in (1.0, 0.3):
        result = token_logprobs(logits, targets, temperature=temperature)
        expected = truth(logits, targets, temperature).float()
        atol = logp_tolerance(logits / temperature)
        torch.testing.assert_close(result, expected, rtol=0, atol=atol)


@pytest.mark.numeric
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("vocabulary", [1, 2053, 9000])
def test_logits_are_summed_in_float32(backend, device, dtype, vocabulary):
    logits, targets = sample(2, 3, vocabulary, dtype=dtype)
    logits[0, 0, : vocabulary // 2] += 40  # maxima that differ between blocks
    targets[1, 2] = -100
    result = token_logprobs(logits.to(device), targets.to(device), temperature=0.7, backend=backend)
    assert result.dtype == torch.float32
    # No further from the truth than float32 torch is, but for roundings of numbers such as -78.
    roundings = logp_tolerance(logits.float() / 0.7)
    plain = reference.token_logprobs(logits.float(), targets, temperature=0.7)
    expected = truth(logits, targets, 0.7)
    allowed = (plain - expected).abs().max() + roundings
    assert (result.cpu() - expected).abs().max() <= allowed


@pytest.mark.numeric
def test_float64_stays_float64():
    logits, targets = sample(7, 100, dtype=torch.float64)
    result = token_logprobs(logits, targets)
    expected = truth(logits, targets)
    torch.testing.assert_close(result, expected, rtol=0, atol=logp_tolerance(logits))


def test_ignored_positions_are_zero_even_with_nan(backend, device):
    logits, targets = (x.to(device) for x in sample(4, 9))
    logits[1], targets[1] = float("nan"), -100
    result = token_logprobs(logits, targets, backend=backend)
    assert result[1] == 0.0
    assert result[[0, 2, 3]].isfinite().all()
    targets[1] = 7
    assert token_logprobs(logits, targets, ignore_index=7, backend=backend)[1] == 0.0


def test_empty_input_is_empty_with_a_zero_gradient(backend, device):
    logits = torch.randn(2, 0, 5, requires_grad=True, device=device)
    targets = torch.empty(2, 0, dtype=torch.int64, device=device)
    assert token_logprobs(logits, targets, backend=backend).shape == (2, 0)
    logits, targets = (x.to(device) for x in sample(2, 5))
    logits.requires_grad_()
    token_logprobs(logits, torch.full_like(targets, -100), backend=backend).sum().backward()
    assert logits.grad is not None and not logits.grad.any()


def test_logits_may_have_any_strides(monkeypatch, backend, device):
    logits, targets = (x.to(device) for x in sample(3, 6, 8))
    monkeypatch.setattr(torch_backend, "CHUNK", 16)
    whole = token_logprobs(logits, targets, backend=backend)
    for view, places, expected in (
        (logits[:, :-1], targets[:, :-1], whole[:, :-1]),
        (logits.mT.contiguous().mT, targets, whole),
        (logits.transpose(0, 1), targets.T, whole.T),
        (logits[:1].expand(3, 6, 8), targets, None),
    ):
        result = token_logprobs(view, places, backend=backend)
        assert torch.equal(
            result, token_logprobs(view.contiguous(), places.contiguous(), backend=backend)
        )
        assert expected is None or torch.equal(result, expected)


# Triton's interpreter computes with numpy, which warns of NaN and infinities.
@pytest.mark.numeric
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_and_infinities_stay_in_their_row(backend, device):
    logits, targets = torch.zeros(6, 3), torch.zeros(6, dtype=torch.int64)
    logits[0, 0] = -INF
    logits[1] = -INF
    logits[2, 0] = INF
    logits[3, 1] = INF
    logits[4, 2] = float("nan")
    result = token_logprobs(logits.to(device), targets.to(device), backend=backend).cpu()
    assert result[[0, 3]].tolist() == [-INF, -INF]
    assert result[[1, 2, 4]].isnan().all()
    torch.testing.assert_close(result[5], torch.tensor(1 / 3).log())


def test_rows_may_lie_past_2_to_the_31_elements(backend, device):
    """The four rows are 2**30 elements apart, so that 32-bit offsets would overflow."""
    if device == "cuda":
        pytest.skip("takes 6 GB of GPU memory; the interpreter runs the same program")
    apart, values = 2**30, sample(4, 50)[0].half()
    logits = torch.empty(3 * apart + 50, dtype=torch.float16).as_strided((4, 50), (apart, 1))
    logits.copy_(values)
    targets = torch.tensor([0, 49, 7, 20])
    result = token_logprobs(logits, targets, backend=backend)
    assert torch.equal(result, token_logprobs(values, targets, backend=backend))


def test_gradient_is_that_of_log_softmax(monkeypatch):
    logits, targets = sample(4, 6, dtype=torch.float64)
    targets[2] = -100
    monkeypatch.setattr(torch_backend, "CHUNK", 6)
    assert torch.autograd.gradcheck(
        lambda x: token_logprobs(x, targets, temperature=0.7), logits.requires_grad_()
    )


def test_operator_passes_opcheck(backend, device):
    logits, targets = (x.to(device) for x in sample(4, 6))
    logits.requires_grad_()
    torch.library.opcheck(_token_logprobs, (logits, targets, -100, 0.7, backend))


def test_memory_is_that_of_one_chunk(largest_storage, monkeypatch):
    logits, targets = sample(64, 50, 400)
    monkeypatch.setattr(torch_backend, "CHUNK", 400 * 8)
    largest_storage.bytes = 0
    token_logprobs(logits[:, :-1], targets[:, :-1])
    # 8 rows of logits in float32; the row and column indices of all positions are larger.
    assert largest_storage.bytes <= max(4 * 400 * 8, 2 * 8 * targets.numel())
    assert logits.untyped_storage().nbytes() > 50 * largest_storage.bytes
