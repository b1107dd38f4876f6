r"""Mining rationales from raw text: data to train a rationale model on (RATIONALYST, 2410.01044).

A chat model writes rationales into documents; those that lower a language model's loss on the text
after them are kept.

`pip install 'reason-decode[mining]'`

```python
from reason_decode.mining import MiningConfig, run_mining

config = MiningConfig(
    writer="Qwen/Qwen2.5-7B-Instruct",       # writes the rationales
    endpoint="http://localhost:8000/v1",     # where it is served; without one it runs here
    loss_model="Qwen/Qwen2.5-7B",            # its loss on the following text has to fall
    min_loss_delta_by_source={"gsm8k": 1.2}, # by this many nats; by 0 in other sources
)
summary = run_mining(config, ["documents.jsonl"], "mined")
print(summary.report.rationales, summary.kept)
```

The same as a command:

```
reason-decode mine --input documents.jsonl --output mined --writer Qwen/Qwen2.5-7B-Instruct \
    --endpoint http://localhost:8000/v1 --loss-model Qwen/Qwen2.5-7B \
    --min-loss-delta-by-source '{"gsm8k": 1.2}'
```

| stage | keeps | function |
|---|---|---|
| segment | documents, cut into segments that a model can read | `segment` |
| dedup | documents that are no near duplicate of an earlier one | `dedup` |
| decontaminate | documents without items of an evaluation set | `decontaminate` |
| prefilter | documents that resemble a reference set | `prefilter` |
| extract | documents into which the writer put rationales | `extract`, `parse_tagged` |
| faithful | documents whose text is unchanged, rationales that do not leak | `faithful` |
| filter | rationales that lower the loss of the following text | `filter_rationales` |

Each stage is a function over an iterator. `global_stages` and `default_stages` build them from a
config, `run_stages` and `mine` chain them, `run_mining` also reads and writes the files. A run that
was killed resumes when it is started again. `run=RunOptions(workers=8)` mines in 8 processes, and
`executor="ray"` or `"slurm"` on several machines, by datatrove.

`score_rationales` measures the loss deltas alone, and `calibrate_threshold` finds the threshold
that reaches a precision on rationales that people judged.
"""

from typing import TYPE_CHECKING

from reason_decode.core.lazy import lazy_imports

if TYPE_CHECKING:
    from reason_decode.io.openai_client import ChatEndpoint, RequestFailed
    from reason_decode.io.read_report import ReadReport
    from reason_decode.mining.calibration import CalibratedThreshold, calibrate_threshold
    from reason_decode.mining.chat_model import ChatModel
    from reason_decode.mining.config import MiningConfig
    from reason_decode.mining.deduplication import decontaminate, dedup
    from reason_decode.mining.documents import (
        AnnotatedDocument,
        Document,
        Dropped,
        parse_annotated,
    )
    from reason_decode.mining.extraction import extract
    from reason_decode.mining.faithfulness import faithful, find_leak
    from reason_decode.mining.journal import MiningJournal
    from reason_decode.mining.loss_delta_filter import (
        ScoredRationale,
        filter_rationales,
        score_rationales,
    )
    from reason_decode.mining.pipeline import mine, run_stages
    from reason_decode.mining.prefiltering import (
        prefilter,
        reference_embedding,
        sentence_embedder,
    )
    from reason_decode.mining.readers import read_documents
    from reason_decode.mining.report import MiningReport
    from reason_decode.mining.results import MiningResult, Record
    from reason_decode.mining.run import MiningSummary, run_mining
    from reason_decode.mining.segmentation import segment
    from reason_decode.mining.stages import default_stages, global_stages
    from reason_decode.mining.tagged import parse_tagged

__all__ = [
    "AnnotatedDocument",
    "CalibratedThreshold",
    "ChatEndpoint",
    "ChatModel",
    "Document",
    "Dropped",
    "MiningConfig",
    "MiningJournal",
    "MiningReport",
    "MiningResult",
    "MiningSummary",
    "ReadReport",
    "Record",
    "RequestFailed",
    "ScoredRationale",
    "calibrate_threshold",
    "decontaminate",
    "dedup",
    "default_stages",
    "extract",
    "faithful",
    "filter_rationales",
    "find_leak",
    "global_stages",
    "mine",
    "parse_annotated",
    "parse_tagged",
    "prefilter",
    "read_documents",
    "reference_embedding",
    "run_mining",
    "run_stages",
    "score_rationales",
    "segment",
    "sentence_embedder",
]

__getattr__, __dir__ = lazy_imports(
    __name__,
    {
        "reason_decode.io.read_report": ("ReadReport",),
        "reason_decode.io.openai_client": ("ChatEndpoint", "RequestFailed"),
        "reason_decode.mining.calibration": ("CalibratedThreshold", "calibrate_threshold"),
        "reason_decode.mining.chat_model": ("ChatModel",),
        "reason_decode.mining.config": ("MiningConfig",),
        "reason_decode.mining.deduplication": ("decontaminate", "dedup"),
        "reason_decode.mining.documents": (
            "AnnotatedDocument",
            "Document",
            "Dropped",
            "parse_annotated",
        ),
        "reason_decode.mining.extraction": ("extract",),
        "reason_decode.mining.faithfulness": ("faithful", "find_leak"),
        "reason_decode.mining.journal": ("MiningJournal",),
        "reason_decode.mining.loss_delta_filter": (
            "ScoredRationale",
            "filter_rationales",
            "score_rationales",
        ),
        "reason_decode.mining.pipeline": ("mine", "run_stages"),
        "reason_decode.mining.prefiltering": (
            "prefilter",
            "reference_embedding",
            "sentence_embedder",
        ),
        "reason_decode.mining.readers": ("read_documents",),
        "reason_decode.mining.report": ("MiningReport",),
        "reason_decode.mining.results": ("MiningResult", "Record"),
        "reason_decode.mining.run": ("MiningSummary", "run_mining"),
        "reason_decode.mining.segmentation": ("segment",),
        "reason_decode.mining.stages": ("default_stages", "global_stages"),
        "reason_decode.mining.tagged": ("parse_tagged",),
    },
)
