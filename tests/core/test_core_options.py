from typing import Any

import pytest

from reason_decode.core.model_options import ModelOptions, SamplingOptions
from reason_decode.core.options import (
    EngineOptions,
    GenerationOptions,
    ScorerOptions,
    flatten_options,
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "got n=0; need at least 1"),
        ({"strategy": "best-of-m"}, "got strategy='best-of-m'; need one of greedy, sample, best"),
        (
            {"sampling": SamplingOptions(temperature=0)},
            "best-of-n; sampling needs a temperature ab",
        ),
        ({"beam_width": 2}, "only step-search has a beam"),
        ({"margin": 0.5}, "only step-search drops trajectories"),
        ({"subtrees": 2}, "only step-search has subtrees"),
        ({"early_stop": 0.9}, "got early_stop=0.9 with best-of-n; only self-consistency stops ear"),
        ({"strategy": "sample", "max_tokens": 9}, "only best-of-n and .* have a budget"),
        (
            {"strategy": "greedy", "scoring": ScorerOptions(scorer="rationale")},
            "got a scorer with greedy; only best-of-n and",
        ),
        ({"supervision": "explicit"}, "only rationale-guided is supervised by rationales"),
        ({"max_tokens": 0}, "got max_tokens=0; need at least 1"),
        (
            {"strategy": "greedy", "reduce": "min"},
            "only best-of-n and step-search and particle-filter reduce",
        ),
        ({"seed": 2**100}, "at most 63 bits"),
    ],
)
def test_rejects_options_that_do_not_go_together(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        given: dict[str, Any] = {"strategy": "best-of-n", **options}
        GenerationOptions(**given)


def test_greedy_needs_no_temperature():
    GenerationOptions(strategy="greedy", sampling=SamplingOptions(temperature=0))


@pytest.mark.parametrize("strategy", ["best-of-n", "step-search", "rationale-guided"])
def test_another_model_than_tiny_wants_its_scorer_named(strategy: Any):
    # The packaged scorers know two kinds of problems; they are no default for somebody's model.
    with pytest.raises(ValueError, match=r"of model=my/model without a scorer; name one"):
        GenerationOptions(strategy=strategy, model="my/model")
    GenerationOptions(strategy=strategy, model="my/model", scoring=ScorerOptions(scorer="tiny"))
    GenerationOptions(strategy="self-consistency", model="my/model")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scorer_endpoint": "http://x/v1"}, "give both, the server's address and the model's"),
        (
            {"scorer": "tiny", "scorer_endpoint": "http://x/v1", "scorer_model": "m"},
            "got scorer=tiny and scorer_endpoint=http://x/v1; give one",
        ),
        ({"discount": 1.5}, "got discount=1.5; need a number above 0, at most 1"),
    ],
)
def test_rejects_invalid_scorers(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        ScorerOptions(**options)


def test_an_engine_is_transformers_or_addresses_of_servers():
    assert EngineOptions().urls == ()
    two = EngineOptions(engine="http://x/v1,https://y/v1")
    assert two.urls == ("http://x/v1", "https://y/v1")
    with pytest.raises(ValueError, match="got engine=mlx; need transformers, vllm, or the address"):
        EngineOptions(engine="mlx")
    with pytest.raises(ValueError, match="got device_map=cpu with engine=http://x/v1"):
        EngineOptions(engine="http://x/v1").check_model(ModelOptions(device_map="cpu"))
    EngineOptions().check_model(ModelOptions(device_map="cpu"))
    EngineOptions(engine="vllm").check_model(ModelOptions(dtype="bfloat16"))
    with pytest.raises(ValueError, match="got device_map=cpu with engine=vllm"):
        EngineOptions(engine="vllm").check_model(ModelOptions(device_map="cpu"))
    with pytest.raises(ValueError, match="with engine=transformers, which asks no server"):
        EngineOptions(extra_body={"top_k": 20})
    with pytest.raises(ValueError, match="got server='triton'; need one of auto, vllm"):
        EngineOptions(engine="http://x/v1", server="triton")  # pyright: ignore[reportArgumentType]


def test_flattens_nested_options():
    flat = flatten_options(GenerationOptions(strategy="greedy"))
    assert (flat["strategy"], flat["scorer"], "scoring" in flat) == ("greedy", None, False)
