import math
import subprocess
import sys
from typing import Any

import pytest
import torch

import reason_decode.kernels
from reason_decode.kernels import linear_token_logprobs, loss_delta, token_logprobs
from tests.tolerance import assert_close, largest

LOGITS = torch.tensor([[[0.0, 0.0], [0.0, float("inf")]], [[1.0, 1.0], [2.0, 2.0]]])
TARGETS = torch.tensor([[0, -100], [1, 0]])
HALF = -0.6931471805599453
HIDDEN, WEIGHT = torch.ones(2, 3, 4), torch.zeros(5, 4)
LINEAR_TARGETS = torch.tensor([[0, 4, -100], [1, 2, 3]])
TERMS = 4 + 5  # of a logit and of a sum over the vocabulary
DELTA: dict[str, Any] = {
    "hidden_with": torch.ones(3, 4),
    "hidden_without": torch.zeros(3, 4),
    "weight": torch.eye(5, 4),
    "targets": torch.tensor([0, 4, 1]),
    "segments": torch.tensor([0, 2, 3]),
}


@pytest.mark.numeric
def test_token_logprobs_of_equal_logits_is_log_half_and_of_ignored_targets_zero():
    for backend in ("auto", "torch"):
        result = token_logprobs(LOGITS, TARGETS, backend=backend)
        assert_close(result, torch.tensor([[HALF, 0.0], [HALF, HALF]]), terms=2)


@pytest.mark.numeric
def test_linear_token_logprobs_uses_bias_softcap_and_ignore_index():
    bias = torch.tensor([0.0, 50.0, 0.0, 0.0, 0.0])
    result = linear_token_logprobs(HIDDEN, WEIGHT, LINEAR_TARGETS, bias=bias, softcap=1.0)
    capped = bias.tanh().log_softmax(0)
    expected = capped[LINEAR_TARGETS.clamp(min=0)].where(LINEAR_TARGETS >= 0, 0.0)
    assert_close(result, expected, terms=TERMS)
    targets = LINEAR_TARGETS.where(LINEAR_TARGETS >= 0, 3)
    result = linear_token_logprobs(HIDDEN, WEIGHT, targets, ignore_index=3)
    assert torch.equal(result == 0.0, targets == 3)


@pytest.mark.numeric
def test_temperature_divides_the_logits():
    cold = token_logprobs(2 * LOGITS, TARGETS, temperature=2.0)
    assert_close(cold, token_logprobs(LOGITS, TARGETS), terms=2, equal_nan=True)
    bias = torch.arange(5.0)
    cold = linear_token_logprobs(HIDDEN, WEIGHT, LINEAR_TARGETS, bias=2 * bias, temperature=2.0)
    warm = linear_token_logprobs(HIDDEN, WEIGHT, LINEAR_TARGETS, bias=bias)
    assert_close(cold, warm, terms=TERMS)


@pytest.mark.numeric
def test_loss_delta_uses_all_its_arguments():
    # The first context gives the first four of the five tokens a logit of 1; the second none.
    found = loss_delta(**DELTA, discount=0.5, threshold=torch.tensor([-1.0, 1.0]))
    odds = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]).log_softmax(0) - torch.tensor(0.2).log()
    # Differences of log-probabilities, which are as far below 0 as log(0.2) is.
    scale = 2 * math.log(5)
    assert_close(found.delta, odds[DELTA["targets"]], terms=TERMS, scale=scale)
    assert_close(found.sums[0], odds[0] + odds[4] / 2, terms=TERMS, scale=scale)
    assert found.passed.tolist() == [True, False]
    assert loss_delta(**DELTA, ignore_index=4).delta[1] == 0.0
    shifted = loss_delta(**DELTA, bias=torch.arange(5.0), softcap=1.0, temperature=2.0)
    expected = [
        linear_token_logprobs(
            DELTA[name],
            DELTA["weight"],
            DELTA["targets"],
            bias=torch.arange(5.0),
            softcap=1.0,
            temperature=2.0,
        )
        for name in ("hidden_with", "hidden_without")
    ]
    scale = sum(map(largest, expected))
    assert_close(shifted.delta, expected[0] - expected[1], terms=TERMS, scale=scale)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"hidden_without": torch.zeros(2, 4)},
            ValueError,
            r"\(3, 4\) and hidden_without \(2, 4\)",
        ),
        ({"hidden_without": torch.zeros(3, 4).half()}, TypeError, "must be of one dtype"),
        ({"weight": torch.zeros(4, 5)}, ValueError, "hidden_with is .* not its transpose"),
        ({"targets": torch.tensor([0, 5, 1])}, ValueError, r"targets\[1\] is 5"),
        ({"segments": torch.tensor([0, 2])}, ValueError, "from 0 to 2; it must go from 0 to 3"),
        ({"segments": torch.tensor([0, 3, 2, 3])}, ValueError, "0 to 3, and decreases"),
        ({"segments": torch.tensor([0.0, 3.0])}, ValueError, r"\(2\) torch.float32; it must be"),
        ({"discount": 0.0}, ValueError, "discount=0.0; it must be above 0"),
        ({"threshold": torch.zeros(3)}, ValueError, "one for each of the 2 segments"),
        ({"temperature": -1.0}, ValueError, "temperature=-1.0; it must be finite and positive"),
        ({"backend": "x"}, ValueError, "backend='x'"),
    ],
)
def test_loss_delta_rejects_invalid_arguments(change, error, message):
    with pytest.raises(error, match=message):
        loss_delta(**{**DELTA, **change})


def test_triton_on_a_cpu_is_rejected(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ValueError, match="got torch.float32 on cpu; it takes .* on a GPU"):
        token_logprobs(LOGITS, TARGETS, backend="triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(ValueError, match="got torch.float64 on cpu"):
        token_logprobs(LOGITS.double(), TARGETS, backend="triton")


def test_compiles_as_one_graph(monkeypatch):
    def score(hidden, weight, logits):
        linear = linear_token_logprobs(hidden, weight, LINEAR_TARGETS)
        delta = loss_delta(**{**DELTA, "weight": weight})
        return linear.sum() + delta.sums.sum() + token_logprobs(logits, TARGETS)[1].sum()

    compiled = torch.compile(score, fullgraph=True, backend="aot_eager")
    weight = torch.linspace(-1, 1, 20).view(5, 4)
    told = [f(HIDDEN, weight, LOGITS) for f in (compiled, score)]
    assert_close(*told, terms=TERMS * HIDDEN.numel())


@pytest.mark.parametrize("hide", ["sys.modules['triton'] = None", "pass"])
def test_works_without_triton_and_without_a_gpu_driver(hide):
    """The library must not load Triton on import: without a GPU, loading its programs may fail."""
    code = f"""
import sys
{hide}
import torch
import reason_decode
from reason_decode.kernels import token_logprobs
assert token_logprobs(torch.zeros(1, 2), torch.zeros(1).long()) < 0
assert 'reason_decode_kernels.triton_kernels' not in sys.modules
if sys.modules.get('triton', 0) is None:
    try:
        token_logprobs(torch.zeros(1, 2), torch.zeros(1).long(), backend='triton')
    except ModuleNotFoundError as error:
        assert 'pip install triton' in str(error)
    else:
        raise SystemExit('no error')
else:
    from reason_decode_kernels import triton_backend
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_module_exports_the_checked_functions():
    assert reason_decode.kernels.token_logprobs is token_logprobs
    assert reason_decode.kernels.linear_token_logprobs is linear_token_logprobs
    assert reason_decode.kernels.loss_delta is loss_delta


def test_an_unknown_backend_is_rejected():
    with pytest.raises(
        ValueError, match=r"backend='cuda'; it must be one of 'auto', 'torch', 'triton'"
    ):
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
def test_token_logprobs_rejects_invalid_arguments(logits, targets, error, message):
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
def test_linear_token_logprobs_rejects_invalid_arguments(change, error, message):
    with pytest.raises(error, match=message):
        linear_token_logprobs(
            **{"hidden": HIDDEN, "weight": WEIGHT, "targets": LINEAR_TARGETS, **change}
        )
