"""The RATIONALYST pipeline: its stages, in order, built from a ``MiningConfig``."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from reason_decode.io.openai_client import ChatEndpoint
from reason_decode.io.read_report import ReadReport
from reason_decode.mining.chat_model import ChatModel
from reason_decode.mining.config import TAGGED, MiningConfig
from reason_decode.mining.deduplication import decontaminate, dedup
from reason_decode.mining.documents import Document
from reason_decode.mining.extraction import Complete, extract
from reason_decode.mining.faithfulness import faithful
from reason_decode.mining.loss_delta_filter import filter_rationales
from reason_decode.mining.pipeline import Stage
from reason_decode.mining.prefiltering import (
    Embed,
    prefilter,
    reference_embedding,
    sentence_embedder,
)
from reason_decode.mining.prompt import Domain
from reason_decode.mining.readers import read_texts
from reason_decode.mining.segmentation import segment
from reason_decode.mining.tagged import parse_tagged
from reason_decode.models.loading import load_model, load_padded_tokenizer

__all__ = ["cut_segments", "default_stages", "global_stages", "save_references"]


def cut_segments(documents: Iterable[Document], config: MiningConfig) -> Iterator[Document]:
    """The documents cut into segments; tagged documents stay whole, for a cut could split a tag.

    Args:
        documents: any number; read as results are asked for.
        config: the settings of the pipeline.
    """
    if config.writer == TAGGED:
        return iter(documents)
    name = config.segment_tokenizer
    tokenizer = load_padded_tokenizer(name) if name else None
    return segment(documents, config.segment_tokens, tokenizer)


def global_stages(config: MiningConfig) -> Sequence[Stage]:
    """The first stages, ``dedup`` and ``decontaminate``: one process must see all documents.

    Args:
        config: the settings of the pipeline.

    Raises:
        ValueError: an evaluation file has no text.
        OSError: an evaluation file cannot be read.

    Examples:
        >>> from reason_decode.mining import Document, MiningConfig, global_stages, run_stages
        >>> stages = global_stages(MiningConfig(writer="tagged", loss_model="tiny"))
        >>> twice = [Document(name, "web", "It rains in May.") for name in "ab"]
        >>> [type(x).__name__ for x in run_stages(twice, stages)]
        ['Document', 'Dropped']
    """
    stages: list[Stage] = []
    if config.dedup_threshold < 1:
        stages.append(partial(dedup, threshold=config.dedup_threshold))
    if config.decontaminate_against:
        items = [text for path in config.decontaminate_against for text in _read_texts(path)]
        stages.append(partial(decontaminate, against=items, ngram=config.decontaminate_ngram))
    return stages


def default_stages(config: MiningConfig, references: str | Path | None = None) -> Sequence[Stage]:
    """The stages of the RATIONALYST pipeline after the global ones, with their models loaded.

    In order: ``prefilter`` (if there are reference sets), ``extract`` (or ``parse_tagged``),
    ``faithful``, ``filter_rationales``. Each process of a distributed run builds its own.

    Args:
        config: the settings of the pipeline.
        references: file of embeddings that ``save_references`` wrote; without one the reference
            sets are embedded here.

    Raises:
        ValueError: a reference set has no text, or a function is none.
        OSError: a model or a file cannot be read.
        ModuleNotFoundError: a package that a stage needs is not installed.

    Source: RATIONALYST, section 3 (arXiv 2410.01044).

    Examples:
        >>> from reason_decode.mining import Document, MiningConfig, default_stages, run_stages
        >>> stages = default_stages(MiningConfig(writer="tagged", loss_model="tiny"))
        >>> documents = [Document("1", "web", "2 + 3<BOT>Add them.<EOT> is 5.")]
        >>> [len(result.records) for result in run_stages(documents, stages)]
        [1]
    """
    stages: list[Stage] = []
    if config.references:
        embed = _embedder(config)
        sets = load_file(references) if references else _embed_references(config, embed)
        stages.append(
            partial(prefilter, references=sets, embed=embed, min_similarity=config.min_cosine)
        )
    if config.writer == TAGGED:
        stages.append(parse_tagged)
    else:
        domain: dict[str, Domain] = {"": config.domain, **config.domain_by_source}
        stages.append(partial(extract, complete=_writer(config), domain=domain))
    stages.append(
        partial(faithful, min_similarity=config.min_edit_similarity, ngram=config.leak_ngram)
    )
    model, tokenizer = load_model(config.loss_model)
    stages.append(
        partial(
            filter_rationales,
            model=model,
            tokenizer=tokenizer,
            discount=config.discount,
            min_loss_delta={"": config.min_loss_delta, **config.min_loss_delta_by_source},
            batch_size=config.batch_size,
        )
    )
    return stages


def save_references(config: MiningConfig, path: Path) -> None:
    """Embed the reference sets and save the embeddings, unless the file exists.

    Args:
        config: the settings of the pipeline.
        path: a safetensors file, for ``default_stages``.
    """
    if config.references and not path.exists():
        unfinished = path.with_suffix(".tmp")
        save_file(_embed_references(config, _embedder(config)), unfinished)
        os.replace(unfinished, path)


def _embed_references(config: MiningConfig, embed: Embed) -> dict[str, Any]:
    return {
        name: reference_embedding(_read_texts(path), embed)
        for name, path in config.references.items()
    }


def _read_texts(path: str) -> list[str]:
    """The texts of a reference set or an evaluation set; malformed rows are logged."""
    report = ReadReport()
    texts = list(read_texts(path, report))
    if not texts:
        raise ValueError(f"{path} has no text to compare with: {report}")
    if report.malformed:
        logging.getLogger(__name__).warning("%s: %s", path, report)
    return texts


def _embedder(config: MiningConfig) -> Embed:
    name = config.embedder
    return _import_function(name) if ":" in name else sentence_embedder(name)


def _writer(config: MiningConfig) -> Complete:
    if config.endpoint:
        return ChatEndpoint(
            config.endpoint,
            config.writer,
            api_key_env=config.api_key_env,
            concurrency=config.concurrency,
            requests_per_minute=config.requests_per_minute,
            attempts=config.attempts,
            timeout=config.timeout,
            total_timeout=config.total_timeout,
            max_tokens=config.max_new_tokens,
        )
    if ":" in config.writer:
        return _import_function(config.writer)
    model, tokenizer = load_model(config.writer)
    return ChatModel(
        model, tokenizer, max_new_tokens=config.max_new_tokens, batch_size=config.batch_size
    )


def _import_function(name: str) -> Any:
    """The function that ``package.module:function`` names."""
    module, _, function = name.partition(":")
    found = getattr(import_module(module), function, None)
    if not callable(found):
        raise ValueError(f"got {name!r}; the module {module} has no function {function!r}")
    return found
