"""``reason-decode train rationalyst``: train a rationale model."""

from collections.abc import Sequence

from reason_decode.cli.output import json_output
from reason_decode.cli.train import report_rows, source_folder
from reason_decode.cli.training_configs import TrainRationalystConfig
from reason_decode.io.console import printable
from reason_decode.io.read_report import ReadReport
from reason_decode.models.loading import load_padded_tokenizer
from reason_decode.training import (
    RationaleRow,
    read_rationales,
    split_documents,
    train_rationalyst,
)

__all__ = [
    "run_rationalyst",
]


def run_rationalyst(config: TrainRationalystConfig, argv: Sequence[str]) -> int:
    """Train a rationale model."""
    with json_output(config.report, *config.input, others=[config.output]) as write:
        source = source_folder(config.model)
        tokenizer = load_padded_tokenizer(source)
        kept, held = split_documents(_read_records(config.input), config.hold_out)
        row = train_rationalyst(
            source, tokenizer, kept, config.output, config.training, held_out=held
        )
        return report_rows(config, [row], write)


def _read_records(paths: Sequence[str]) -> list[RationaleRow]:
    """The rationales of all files; the counts of each file are printed."""
    found: list[RationaleRow] = []
    for path in paths:
        report = ReadReport()
        records = read_rationales(path, report)
        found += records
        documents = len({(record.source, record.id) for record in records})
        print(f"{path}: rationales of {documents} documents; {printable(str(report))}")
    return found
