"""From raw text to the data that a rationale model is trained on, stage by stage."""

from reason_decode.endpoint import Endpoint, Unanswered
from reason_decode.mining.calibrate import Calibrated, calibrate
from reason_decode.mining.dedup import decontaminate, dedup
from reason_decode.mining.documents import Document, Dropped, Marked, parse_marked
from reason_decode.mining.extract import ChatModel, extract, given
from reason_decode.mining.faithful import faithful, leak
from reason_decode.mining.journal import Journal
from reason_decode.mining.keep import Judged, judge, keep
from reason_decode.mining.pipeline import mine, through
from reason_decode.mining.prefilter import prefilter, reference, sentence_embedder
from reason_decode.mining.read import Reading, read_documents
from reason_decode.mining.records import Mined, Record
from reason_decode.mining.segment import segment

__all__ = [
    "Calibrated",
    "ChatModel",
    "Document",
    "Dropped",
    "Endpoint",
    "Journal",
    "Judged",
    "Marked",
    "Mined",
    "Reading",
    "Record",
    "Unanswered",
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
