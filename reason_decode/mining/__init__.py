r"""From raw text to the data that a rationale model is trained on, stage by stage.

documents, cut and without near duplicates or test items, like what is looked for (`prefilter`)
-> rationales put in by a chat model, here or at an endpoint (`extract`) -> faithful to the text and
giving nothing away (`faithful`, `leak`) -> kept where they lower the loss of the text behind them
(`keep`). Each stage is a plain function over an iterator; `mine` is all of them.

```
pip install 'reason-decode[mining]'
reason-decode mine --data documents.jsonl --out mined --writer Qwen/Qwen2.5-7B-Instruct \
    --endpoint http://localhost:8000/v1 --judge Qwen/Qwen2.5-7B --threshold 0 gsm8k=1.2
```

A run that was killed goes on when the same command is given again; no document is done twice. On
several processes or machines the same stages run under datatrove's executors (`--executor local`,
`ray` or `slurm`).

`judge` is the filter alone: which rationales in a text lower the loss of what follows, a document
in one pass, without its logits. `calibrate` finds the threshold that gives a precision on labelled
pairs.
"""

from reason_decode.io.openai_client import Endpoint, RequestFailed
from reason_decode.mining.calibrate import Calibrated, calibrate
from reason_decode.mining.dedup import decontaminate, dedup
from reason_decode.mining.documents import AnnotatedDocument, Document, Dropped, parse_marked
from reason_decode.mining.extract import ChatModel, extract, given
from reason_decode.mining.faithful import faithful, leak
from reason_decode.mining.journal import Journal
from reason_decode.mining.loss_delta_filter import ScoredRationale, judge, keep
from reason_decode.mining.pipeline import mine, through
from reason_decode.mining.prefilter import prefilter, reference, sentence_embedder
from reason_decode.mining.readers import ReadReport, read_documents
from reason_decode.mining.records import MiningResult, Record
from reason_decode.mining.segment import segment

__all__ = [
    "AnnotatedDocument",
    "Calibrated",
    "ChatModel",
    "Document",
    "Dropped",
    "Endpoint",
    "Journal",
    "MiningResult",
    "ReadReport",
    "Record",
    "RequestFailed",
    "ScoredRationale",
    "calibrate",
    "decontaminate",
    "dedup",
    "extract",
    "faithful",
    "given",
    "judge",
    "keep",
    "leak",
    "mine",
    "parse_marked",
    "prefilter",
    "read_documents",
    "reference",
    "segment",
    "sentence_embedder",
    "through",
]
