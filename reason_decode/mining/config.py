"""Settings of the RATIONALYST mining pipeline; importing this module loads no torch."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["TAGGED", "Domain", "MiningConfig"]

Domain = Literal["general", "math"]
"""Kind of text of the worked examples that a writer is shown."""

TAGGED = "tagged"
"""The writer of documents that already contain rationales between tags."""


@dataclass(frozen=True, kw_only=True)
class MiningConfig:
    """Models, gates and thresholds of the pipeline from raw text to filtered rationales.

    A value of the form ``MODULE:FUNCTION`` names a Python function that is imported.

    Args:
        writer: chat model that writes rationales into the documents: a folder, a Hub id, the name
            of a model at ``endpoint``, or ``MODULE:FUNCTION`` (chats -> answers). ``tagged`` for
            documents that already contain rationales between ``<BOT>`` and ``<EOT>``.
        loss_model: causal language model whose loss on the text after a rationale has to fall:
            ``tiny``, a folder or a Hub id.
        segment_tokens: maximum length of a document in tokens; longer ones are cut into segments.
        segment_tokenizer: tokenizer that counts these tokens; words are counted without one.
        dedup_threshold: Jaccard similarity of word n-grams from which a document is a near
            duplicate of an earlier one; 1 turns deduplication off.
        decontaminate_against: JSON Lines files of evaluation items; documents that contain one of
            the items are dropped.
        decontaminate_ngram: number of consecutive words in common with an evaluation item from
            which a document counts as contaminated.
        references: reference sets as name -> JSON Lines file; documents that are similar to none
            of them are dropped. Empty: no prefilter.
        embedder: sentence embedding model of the prefilter, from sentence-transformers, or
            ``MODULE:FUNCTION`` (texts -> (n, h)).
        min_cosine: minimum cosine similarity of a document to its nearest reference set.
        endpoint: base URL of an OpenAI-compatible server that serves the writer, such as
            ``http://localhost:8000/v1``.
        api_key_env: environment variable that holds the API key of the endpoint.
        concurrency: number of requests in flight at the endpoint.
        requests_per_minute: rate limit of the endpoint; unlimited without one.
        attempts: number of requests for one document before it is left for the next run.
        timeout: seconds without a byte from the endpoint after which an attempt fails.
        total_timeout: seconds after which an attempt fails, whatever has come.
        max_new_tokens: maximum length of the writer's answer, which repeats the document.
        domain: worked examples that the writer is shown.
        domain_by_source: worked examples of documents of single sources, as source -> domain.
        min_edit_similarity: minimum edit similarity of a document and the writer's answer without
            its rationales, from 0 to 1.
        leak_ngram: number of consecutive words of the next piece of text from which a rationale
            that contains them counts as a leak.
        discount: weight of each token of the following text relative to the token before it, in
            (0, 1].
        min_loss_delta: nats by which a rationale has to lower the loss of the text after it.
        min_loss_delta_by_source: the same for documents of single sources, as source -> nats.
        batch_size: documents per forward pass of the loss model, chats per batch of the writer.

    Raises:
        ValueError: a value is out of range, or two settings contradict each other.

    Source: RATIONALYST, section 3 (arXiv 2410.01044).

    Examples:
        >>> from reason_decode.mining import MiningConfig
        >>> MiningConfig(writer="tagged", loss_model="tiny", min_loss_delta=1.2).discount
        0.9
    """

    writer: str
    loss_model: str
    segment_tokens: int = 2000
    segment_tokenizer: str | None = None
    dedup_threshold: float = 0.8
    decontaminate_against: tuple[str, ...] = ()
    decontaminate_ngram: int = 13
    references: Mapping[str, str] = field(default_factory=dict)
    embedder: str = "sentence-transformers/all-MiniLM-L6-v2"
    min_cosine: float = 0.3
    endpoint: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    requests_per_minute: float | None = None
    attempts: int = 6
    timeout: float = 600.0
    total_timeout: float = 3600.0
    max_new_tokens: int = 4096
    domain: Domain = "general"
    domain_by_source: Mapping[str, Domain] = field(default_factory=dict)
    min_edit_similarity: float = 0.9
    leak_ngram: int = 8
    discount: float = 0.9
    min_loss_delta: float = 0.0
    min_loss_delta_by_source: Mapping[str, float] = field(default_factory=dict)
    batch_size: int = 8

    def __post_init__(self) -> None:
        for name in ("segment_tokens", "decontaminate_ngram", "leak_ngram", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"got {name}={getattr(self, name)}; need at least 1")
        for name, low, high in (
            ("min_cosine", -1, 1),
            ("min_edit_similarity", 0, 1),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"got {name}={getattr(self, name)}; need {low} to {high}")
        for name in ("dedup_threshold", "discount"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f"got {name}={getattr(self, name)}; need a number above 0 and at most 1"
                )
        for nats in (self.min_loss_delta, *self.min_loss_delta_by_source.values()):
            if not math.isfinite(nats):
                raise ValueError(f"got min_loss_delta={nats}; need a finite number of nats")
        if self.endpoint and (self.writer == TAGGED or ":" in self.writer):
            raise ValueError(
                f"got endpoint={self.endpoint!r} with writer={self.writer!r}; name the model that "
                "is served there as the writer"
            )
