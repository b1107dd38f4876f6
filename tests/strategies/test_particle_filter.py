import dataclasses
import math
from collections import Counter
from typing import Any

import pytest
import torch
from run_strategy import generate, total, traces

from reason_decode import ConfidenceScorer, LikelihoodScorer, ParticleFilter
from reason_decode.core.options import Resampling
from reason_decode.strategies.particle_filter import (
    ParticleLoop,
    effective_sample_size,
    logp_potential,
    resample,
)
from reason_decode.tiny import Tiny

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]
SCHEMES: list[Resampling] = ["systematic", "stratified", "multinomial"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_index_is_drawn_by_its_weight(scheme: Resampling) -> None:
    """The mean of 4,000 draws lies within 5 standard deviations of n times the weight."""
    torch.manual_seed(0)
    weights = torch.rand(6, dtype=torch.float64).softmax(0)
    counts: Counter[int] = Counter()
    for _ in range(4000):
        drawn = resample(weights, scheme)
        assert drawn == sorted(drawn) and len(drawn) == 6
        counts.update(drawn)
    for i, weight in enumerate(weights.tolist()):
        # The variance of any of the schemes is at most that of independent draws.
        deviation = math.sqrt(6 * weight * (1 - weight) / 4000)
        assert abs(counts[i] / 4000 - 6 * weight) < 5 * deviation


def test_systematic_draws_differ_from_the_expected_number_by_less_than_one() -> None:
    torch.manual_seed(0)
    for _ in range(200):
        weights = (8 * torch.rand(9, dtype=torch.float64)).softmax(0)
        counts = Counter(resample(weights))
        for i, expected in enumerate((9 * weights).tolist()):
            assert math.floor(expected) <= counts[i] <= math.ceil(expected)


def test_proportional_resampling_takes_the_best_first() -> None:
    """By hand: 4 * (0.5, 0.3, 0.15, 0.05) rounded up is 2, 2, 1, 1, of which the first 4 fit."""
    weights = torch.tensor([0.05, 0.5, 0.15, 0.3], dtype=torch.float64)
    assert resample(weights, "proportional") == [1, 1, 3, 3]
    assert resample(torch.full((4,), 0.25), "proportional") == [0, 1, 2, 3]


@pytest.mark.parametrize("scheme", [*SCHEMES, "proportional"])
def test_a_particle_without_weight_is_never_drawn(scheme: Resampling) -> None:
    assert set(resample(torch.tensor([0.0, 1.0, 0.0]), scheme)) == {1}
    assert effective_sample_size(torch.tensor([0.0, 1.0, 0.0])) == 1


def test_potentials_are_scores_to_the_power_of_an_inverse_temperature() -> None:
    assert math.isclose(logp_potential(0.25, "probability", 2), math.log(0.5))
    assert logp_potential(-3, "log_probability", 2) == logp_potential(-3, "reward", 2) == -1.5
    assert math.isfinite(logp_potential(0, "probability"))


@pytest.mark.parametrize("scheme", [*SCHEMES, "proportional"])
def test_every_particle_continues_one_that_was_kept(tiny: Tiny, scheme: Resampling) -> None:
    strategy = ParticleFilter(
        tiny.prm, tokenizer=tiny.tokenizer, n=6, resampling=scheme, reduce="last"
    )
    out = generate(tiny, strategy, PROMPTS, max_new_tokens=80)
    for trace in traces(out):
        assert len(trace.candidates) == 6
        for before, after in zip(trace.rounds, trace.rounds[1:], strict=False):
            parents = [before[step.parent] for step in after if step.parent is not None]
            assert len(parents) == len(after) and all(x.kept and not x.finished for x in parents)
        ends = [x for x in trace.candidates if x.finished]
        assert not ends or trace.best.finished
        assert total(trace.best) == max(map(total, ends or trace.candidates))
        assert all(total(x) == x.scores[-1] for x in trace.candidates)


def test_without_resampling_all_particles_go_on(tiny: Tiny) -> None:
    """Weights are kept where nothing is drawn, so that a later draw knows them."""
    strategy = ParticleFilter(tiny.prm, tokenizer=tiny.tokenizer, n=5, min_ess=0)
    for trace in traces(generate(tiny, strategy, PROMPTS)):
        assert all(step.kept for round_ in trace.rounds for step in round_)
        parents = [step.parent for step in trace.rounds[1]]
        assert len(parents) == len(set(parents))


def test_no_step_counts_twice_where_totals_grow(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The product of all totals weighed the first step as often as there were steps."""
    found: list[list[float]] = []

    def none_drawn(self: ParticleLoop, paths: Any, weights: torch.Tensor) -> bool:
        totals = torch.tensor([logp_potential(x.total, "probability") for x in paths])
        found.append((weights - totals.double()).tolist())
        return False

    monkeypatch.setattr(ParticleLoop, "_is_uneven", none_drawn)
    strategy = ParticleFilter(tiny.prm, tokenizer=tiny.tokenizer, n=4, reduce="prod")
    generate(tiny, strategy, PROMPTS[:1], max_new_tokens=80)
    # A dozen rounds, each of which rounds its numbers of at most 21 nats in float32.
    assert len(found) > 2 and max(abs(x) for row in found for x in row) < 12 * 21 * 2**-23


def test_all_weigh_the_same_after_a_draw_of_each_particle_once(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a draw was taken for none, and the old weights were multiplied by the next ones."""
    found: list[torch.Tensor] = []

    def each_once(weights: torch.Tensor, scheme: Resampling) -> list[int]:
        found.append(weights)
        return list(range(len(weights)))

    monkeypatch.setattr("reason_decode.strategies.particle_filter.resample", each_once)
    strategy = ParticleFilter(tiny.prm, tokenizer=tiny.tokenizer, n=4, reduce="last")
    (trace,) = traces(generate(tiny, strategy, PROMPTS[:1], max_new_tokens=80))
    second = torch.tensor([total(step) for step in trace.rounds[1]], dtype=torch.float64)
    torch.testing.assert_close(found[1], second / second.sum(), rtol=1e-6, atol=0)


def test_a_low_temperature_keeps_copies_of_the_best(tiny: Tiny) -> None:
    strategy = ParticleFilter(tiny.prm, tokenizer=tiny.tokenizer, n=6, temperature=1e-4)
    for trace in traces(generate(tiny, strategy, PROMPTS, max_new_tokens=80)):
        first = trace.rounds[0]
        kept = {total(step) for step in first if step.kept}
        assert kept == {max(map(total, first))}


@pytest.mark.parametrize("name", ["prm", "likelihood", "confidence"])
def test_a_step_is_read_once(tiny: Tiny, name: str) -> None:
    """The prompt once for each model, and no step again, however often particles are copied."""
    likelihood: Any = LikelihoodScorer(tiny.model, tiny.tokenizer)
    scorer: Any = {"prm": tiny.prm, "likelihood": likelihood, "confidence": ConfidenceScorer()}
    strategy = ParticleFilter(scorer[name], tokenizer=tiny.tokenizer, n=6)
    out = generate(tiny, strategy, PROMPTS[:1], max_new_tokens=80)
    assert out.cost is not None
    prompt = len(tiny.tokenizer(PROMPTS[0])["input_ids"])
    assert out.cost.prefill == prompt and out.cost.decode <= out.cost.sampled
    steps = len(traces(out)[0].rounds)
    # A layout puts a tag behind a step, and each particle has as many steps as there were rounds.
    most = out.cost.sampled + prompt + 6 * 3 * steps
    assert out.cost.scorer <= (most if name == "prm" else 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperature": 0.0}, "above 0"),
        ({"min_ess": 1.5}, "from 0 to 1"),
        ({"resampling": "best"}, "systematic, stratified, multinomial, proportional"),
        ({"n": 0}, "got n=0"),
        ({"max_tokens": 2}, "max_tokens=2"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(
    tiny: Tiny, change: dict[str, Any], message: str
) -> None:
    strategy = ParticleFilter(tiny.prm, tokenizer=tiny.tokenizer, n=4)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(strategy, **change)


def test_greedy_decoding_is_refused(tiny: Tiny) -> None:
    strategy = ParticleFilter(tiny.prm, tokenizer=tiny.tokenizer, n=4)
    with pytest.raises(ValueError, match="compares n=4 candidates"):
        generate(tiny, strategy, PROMPTS, do_sample=False)
