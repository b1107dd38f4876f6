"""``reason-decode train active``: train process reward models in rounds of active learning."""

from collections.abc import Sequence

from reason_decode.cli.active_configs import TrainActiveConfig
from reason_decode.cli.output import json_output
from reason_decode.cli.train import read_steps, report_rows, source_folder
from reason_decode.models.loading import load_padded_tokenizer
from reason_decode.training import active_learning, hold_out

__all__ = [
    "run_active",
]


def run_active(config: TrainActiveConfig, argv: Sequence[str]) -> int:
    """Train process reward models in rounds of active learning."""
    with json_output(config.report, *config.input) as write:
        source = source_folder(config.model)
        tokenizer = load_padded_tokenizer(source)
        kept, held = hold_out(read_steps(config), config.hold_out)
        rows = active_learning(
            source,
            tokenizer,
            kept,
            config.output,
            config.active,
            config.training,
            held_out=held,
            restart=config.training.restart,
        )
        return report_rows(config, rows, write, "/round-*")
