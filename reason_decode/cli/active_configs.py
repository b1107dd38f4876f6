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

    Where chosen solutions have no labels, they are written to OUTPUT/to_label-K.jsonl: fill in
    ``labels`` there (true, false, null), and give the same command again.

    Args:
        labels: further files of solutions with labels, such as those that ``label`` writes.
        active: the rounds.
    """

    labels: tuple[str, ...] = ()
    active: ActiveLearningConfig = field(default_factory=ActiveLearningConfig)
