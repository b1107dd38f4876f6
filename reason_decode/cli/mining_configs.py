"""Config of ``reason-decode mine``: its files beside the library's ``MiningConfig``."""

from dataclasses import dataclass, field

from reason_decode.core.options import check_at_least_one
from reason_decode.mining.config import MiningConfig
from reason_decode.runs.options import RunOptions

__all__ = ["MineConfig"]


@dataclass(frozen=True, kw_only=True)
class MineConfig:
    """Mine rationales from raw text; the same command resumes a run that was stopped.

    Args:
        input: documents, JSON Lines, compressed (.gz) or not.
        output: folder for the records, the report and the journals.
        limit: read only the first documents, this many.
        parquet: write the rationales as Parquet instead of JSON Lines.
        mining: models, gates and thresholds.
        run: how the documents are divided among processes.
    """

    input: tuple[str, ...]
    output: str
    mining: MiningConfig
    limit: int | None = None
    parquet: bool = False
    run: RunOptions = field(default_factory=RunOptions)

    def __post_init__(self) -> None:
        check_at_least_one(self, "limit")
        if not self.input:
            raise ValueError("got no input; name a file of documents")
