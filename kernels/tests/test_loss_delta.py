import pytest
import torch
from reason_decode_kernels import linear_token_logprobs, loss_delta, reference
from torch import Tensor

from tests.tolerance import assert_close, logp_tolerance

SEGMENTS = torch.tensor([0, 0, 5, 6, 6, 13])
INF = float("inf")


def sample(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 13, 24, generator=generator).to(dtype)
    weight = torch.randn(90, 24, generator=generator).to(dtype)
    return first, second, weight, torch.randint(0, 90, (13,), generator=generator)


@pytest.mark.numeric
@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_loss_delta_is_the_difference_of_two_passes_summed_by_segment(backend, device, discount):
    first, second, weight, targets = (x.to(device) for x in sample())
    targets[2] = -100
    found = loss_delta(
        first, second, weight, targets, SEGMENTS.to(device), discount=discount, backend=backend
    )
    for logp, hidden in ((found.logp_with, first), (found.logp_without, second)):
        alone = linear_token_logprobs(hidden, weight, targets, backend=backend)
        atol = logp_tolerance(hidden @ weight.T, width=24)
        torch.testing.assert_close(logp, alone, rtol=0, atol=atol)
    assert torch.equal(found.delta, found.logp_with - found.logp_without)
    expected = reference.discounted(
        found.delta.cpu().double(), (targets != -100).cpu(), SEGMENTS, discount
    )
    result = torch.stack([found.sums, found.means], 1).cpu()
    assert_close(result, expected.float(), terms=7, scale=float(found.delta.abs().sum()))


def test_empty_segments_are_zero_and_do_not_pass():
    found = loss_delta(*sample(), SEGMENTS, threshold=-INF)
    assert found.passed.tolist() == [False, True, True, False, True]
    assert found.sums[[0, 3]].tolist() == found.means[[0, 3]].tolist() == [0.0, 0.0]


def test_ties_pass_the_threshold_which_may_differ_by_segment():
    inputs = sample()
    sums = loss_delta(*inputs, SEGMENTS).sums
    at, above = float(sums[1]), float(sums[1]) + 1e-3
    assert loss_delta(*inputs, SEGMENTS, threshold=at).passed[1]
    assert not loss_delta(*inputs, SEGMENTS, threshold=above).passed[1]
    each = torch.full((5,), INF).index_fill(0, torch.tensor([2]), -INF)
    passed = loss_delta(*inputs, SEGMENTS, threshold=each).passed
    assert passed.tolist() == [False, False, True, False, False]


def test_equal_contexts_have_no_delta_even_for_impossible_tokens():
    first, _, weight, targets = sample()
    bias = torch.zeros(90).index_fill(0, targets[6:7], -INF)
    found = loss_delta(first, first.clone(), weight, targets, SEGMENTS, bias=bias)
    assert found.logp_with[6] == -INF
    assert not found.delta.any() and not found.sums.any()


# Triton's interpreter computes with numpy, which warns of NaN and infinities.
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_nan_stays_in_its_segment_which_does_not_pass(backend, device):
    first, second, weight, targets = (x.to(device) for x in sample())
    first[7] = float("nan")
    found = loss_delta(
        first, second, weight, targets, SEGMENTS.to(device), threshold=-INF, backend=backend
    )
    assert found.sums.isnan().tolist() == [False, False, False, False, True]
    assert found.passed.tolist() == [False, True, True, False, False]
    targets[7] = -100
    found = loss_delta(first, second, weight, targets, SEGMENTS.to(device), backend=backend)
    assert found.sums.isfinite().all()


def test_loss_delta_of_no_tokens_and_no_segments():
    first, second, weight, targets = sample()
    nothing = (first[:0], second[:0], weight, targets[:0])
    found = loss_delta(*nothing, torch.tensor([0]))
    assert [len(x) for x in found] == [0] * 6
    assert loss_delta(*nothing, torch.tensor([0, 0])).passed.tolist() == [False]


@pytest.mark.slow
def test_loss_delta_has_a_gradient_and_compiles():
    first, second, weight, targets = (
        x.double().requires_grad_() if x.is_floating_point() else x for x in sample()
    )

    def mean(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
        return loss_delta(first, second, weight, targets, SEGMENTS).means

    assert torch.autograd.gradcheck(mean, (first, second, weight))
    compiled = torch.compile(mean, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(first, second, weight), mean(first, second, weight))


@pytest.mark.numeric
def test_low_precision_contexts_are_not_rounded(backend, device):
    inputs = sample(torch.bfloat16)
    first, second, weight, targets = (x.to(device) for x in inputs)
    found = loss_delta(first, second, weight, targets, SEGMENTS.to(device), backend=backend)
    first, second, weight, targets = inputs
    expected = reference.linear_token_logprobs(
        first.double(), weight.double(), targets
    ) - reference.linear_token_logprobs(second.double(), weight.double(), targets)
    allowed = sum(logp_tolerance(x.float() @ weight.float().T, width=24) for x in (first, second))
    assert (found.delta.cpu() - expected).abs().max() < allowed
