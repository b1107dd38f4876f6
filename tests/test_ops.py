import pytest
import torch

import reason_decode.kernels
from reason_decode.ops import linear_token_logprobs, token_logprobs

LOGITS = torch.tensor([[[0.0, 0.0], [0.0, float("inf")]], [[1.0, 1.0], [2.0, 2.0]]])
TARGETS = torch.tensor([[0, -100], [1, 0]])
HALF = -0.6931471805599453
HIDDEN, WEIGHT = torch.ones(2, 3, 4), torch.zeros(5, 4)
LINEAR_TARGETS = torch.tensor([[0, 4, -100], [1, 2, 3]])


def test_token_logprobs_of_even_odds_is_log_half_and_ignored_is_zero():
    for backend in ("auto", "torch"):
        result = token_logprobs(LOGITS, TARGETS, backend=backend)
        torch.testing.assert_close(result, torch.tensor([[HALF, 0.0], [HALF, HALF]]))


def test_linear_passes_bias_softcap_and_ignore_index_on():
    bias = torch.tensor([0.0, 50.0, 0.0, 0.0, 0.0])
    result = linear_token_logprobs(HIDDEN, WEIGHT, LINEAR_TARGETS, bias=bias, softcap=1.0)
    capped = bias.tanh().log_softmax(0)
    expected = capped[LINEAR_TARGETS.clamp(min=0)].where(LINEAR_TARGETS >= 0, 0.0)
    torch.testing.assert_close(result, expected)
    targets = LINEAR_TARGETS.where(LINEAR_TARGETS >= 0, 3)
    result = linear_token_logprobs(HIDDEN, WEIGHT, targets, ignore_index=3)
    assert torch.equal(result == 0.0, targets == 3)


def test_public_face_is_the_door():
    assert reason_decode.kernels.token_logprobs is token_logprobs
    assert reason_decode.kernels.linear_token_logprobs is linear_token_logprobs


def test_unknown_backend_names_the_allowed_ones():
    with pytest.raises(ValueError, match=r"backend='cuda'; it must be one of 'auto', 'torch'"):
        token_logprobs(LOGITS, TARGETS, backend="cuda")


@pytest.mark.parametrize(
    ("logits", "targets", "error", "message"),
    [
        (LOGITS.long(), TARGETS, TypeError, "logits is torch.int64; it must be one of float16"),
        (LOGITS, TARGETS.int(), TypeError, r"targets is torch.int32.*targets.long\(\)"),
        (LOGITS, TARGETS[:1], ValueError, r"logits is \(2, 2, 2\) and targets \(1, 2\)"),
        (LOGITS[0, 0], TARGETS[0, 0], ValueError, "at least two dimensions"),
        (LOGITS, TARGETS + 1, ValueError, r"targets\[0, 1\] is -99; targets must be 0..1, or ig"),
        (LOGITS, TARGETS.to("meta"), ValueError, r"targets is on meta and logits on cpu"),
    ],
)
def test_token_logprobs_says_what_is_wrong(logits, targets, error, message):
    with pytest.raises(error, match=message):
        token_logprobs(logits, targets)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weight": torch.zeros(4, 5)}, ValueError, "lm_head.weight itself, not its transpose"),
        ({"hidden": torch.ones(4)}, ValueError, r"hidden is \(4\) and weight \(5, 4\)"),
        ({"weight": torch.zeros(5, 4).int()}, TypeError, "weight is torch.int32"),
        ({"weight": torch.zeros(5, 4, device="meta")}, ValueError, "weight is on meta and hidden"),
        ({"bias": torch.zeros(4)}, ValueError, r"bias is \(4\); it must be \(5,\)"),
        ({"bias": torch.zeros(5).long()}, TypeError, "bias is torch.int64"),
        ({"softcap": 0.0}, ValueError, "softcap=0.0; it must be finite and positive"),
        ({"softcap": float("nan")}, ValueError, "softcap=nan"),
        ({"targets": torch.full((2, 3), 5)}, ValueError, r"targets\[0, 0\] is 5; .* 0..4"),
        ({"targets": torch.zeros(2, 2).long()}, ValueError, r"targets \(2, 2\)"),
        ({"backend": "x"}, ValueError, "backend='x'"),
    ],
)
def test_linear_token_logprobs_says_what_is_wrong(change, error, message):
    with pytest.raises(error, match=message):
        linear_token_logprobs(
            **{"hidden": HIDDEN, "weight": WEIGHT, "targets": LINEAR_TARGETS, **change}
        )
