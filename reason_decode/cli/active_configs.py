"""Config of ``reason-decode train active``."""

from dataclasses import dataclass, field

from reason_decode.cli.training_configs import TrainPRMConfig
from reason_decode.training.active_config import ActiveLearningConfig

__all__ = [
    "TrainActiveConfig",
]


@dataclass(frozen=True, kw_only=True)
class TrainActiveConfig(TrainPRMConfig):
    """Train process reward models in rounds, each on the solutions that convinced the last one.

    Args:
        active: the rounds.
    """

    active: ActiveLearningConfig = field(default_factory=ActiveLearningConfig)
