import re
from dataclasses import fields
from typing import Any

import pytest

from reason_decode.training import (
    BaselineConfig,
    NATConfig,
    NCEConfig,
    NegativeConfig,
    NGramRankerConfig,
    ORMConfig,
    PRMConfig,
    RankerConfig,
    RationalystConfig,
    SamplingConfig,
    TrainingConfig,
)

CONFIGS = [
    *(TrainingConfig, PRMConfig, ORMConfig, RationalystConfig, RankerConfig, NGramRankerConfig),
    *(NegativeConfig, NATConfig, NCEConfig, BaselineConfig, SamplingConfig),
]
REQUIRED: dict[Any, dict[str, str]] = {
    NATConfig: {"negative": "x"},
    NCEConfig: {"nat": "x"},
    BaselineConfig: {"method": "cot-kd"},
}


@pytest.mark.parametrize("config", CONFIGS)
def test_every_field_has_a_line_in_the_docstring(config):
    """Commands take their help texts from there."""
    text = "".join(base.__doc__ or "" for base in config.__mro__)
    documented = set(re.findall(r"^ {8}(\w+): ", text, re.MULTILINE))
    assert {field.name for field in fields(config)} <= documented


@pytest.mark.parametrize("config", [x for x in CONFIGS if issubclass(x, TrainingConfig)])
def test_every_trainer_checks_the_common_settings(config):
    given = REQUIRED.get(config, {})
    assert config(**given).seed == 0
    for name in ("num_train_epochs", "batch_size", "learning_rate", "save_steps", "max_length"):
        for value in (0, float("nan")):
            with pytest.raises(ValueError, match=f"got {name}={value}; it must be positive"):
                config(**given, **{name: value})


@pytest.mark.parametrize(
    ("config", "given", "message"),
    [
        (NATConfig, {"beta": 2}, "got beta=2; it must be from 0 to 1"),
        (NATConfig, {"gate_dim": 0}, "got gate_dim=0; it must be positive"),
        (NegativeConfig, {"lora_dropout": 1}, "at least 0 and below 1"),
        (BaselineConfig, {"negatives_per_positive": 0}, "it must be positive"),
        (NGramRankerConfig, {"weight_decay": -1}, "it must be at least 0"),
        (SamplingConfig, {"temperature": 0}, "it must be positive"),
    ],
)
def test_rejects_settings_out_of_range(config, given, message):
    with pytest.raises(ValueError, match=message):
        config(**REQUIRED.get(config, {}), **given)
