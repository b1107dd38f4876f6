"""``reason-decode train active``: train process reward models in rounds of active learning."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reason_decode.cli.active_configs import TrainActiveConfig
from reason_decode.cli.output import json_output
from reason_decode.cli.train import read_steps, report_rows, source_folder
from reason_decode.models.loading import load_padded_tokenizer
from reason_decode.training import active_learning, hold_out
from reason_decode.training.active_labels import TO_LABEL, with_labels

__all__ = [
    "run_active",
]


def run_active(config: TrainActiveConfig, argv: Sequence[str]) -> int:
    """Train process reward models in rounds of active learning."""
    with json_output(config.report, *config.input, *config.labels, others=[config.output]) as write:
        source = source_folder(config.model)
        tokenizer = load_padded_tokenizer(source)
        kept, held = hold_out(read_steps(config), config.hold_out)
        filled = sorted(map(str, Path(config.output).glob(TO_LABEL)))
        given = (*config.labels, *filled)
        labelled = read_steps(replace(config, input=given)) if given else []
        rows = active_learning(
            source,
            tokenizer,
            kept,
            config.output,
            config.active,
            config.training,
            labelled=labelled,
            held_out=with_labels(held, labelled)[0],
            restart=config.training.restart,
        )
        status = report_rows(config, rows, write, "/round-*") if rows else 0
        if len(rows) <= config.active.rounds:
            waiting = [x for x in Path(config.output).glob(f"to_label-{len(rows)}*.jsonl")]
            print(
                f"round {len(rows)} waits for labels: fill in `labels` in "
                f"{max(waiting, key=lambda x: x.stat().st_mtime)} (true, false or null for each "
                "step), and give the same command again"
            )
        return status
