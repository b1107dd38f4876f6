"""The stages of ``reason-decode mine``, from its options as text, in any process."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from reason_decode.mining import (
    ChatModel,
    Endpoint,
    decontaminate,
    dedup,
    extract,
    faithful,
    given,
    keep,
    prefilter,
    reference,
    segment,
    sentence_embedder,
)
from reason_decode.mining.documents import Document
from reason_decode.mining.pipeline import Stage
from reason_decode.mining.readers import ReadReport, read_texts
from reason_decode.models.loading import load_model, load_padded_tokenizer

__all__ = ["build", "build_first", "cut", "pairs", "write_references"]


def build(settings: str) -> Sequence[Stage]:
    """The stages that may run in any process, models loaded.

    Args:
        settings: the options as JSON.

    Raises:
        ValueError, OSError, ImportError: an option names what is not there.
    """
    options = json.loads(settings)
    stages: list[Stage] = []
    if options["reference"]:
        references = load_file(options["references"])
        embed, threshold = _embed(options), options["similarity"]
        stages.append(partial(prefilter, references=references, embed=embed, threshold=threshold))
    if options["writer"] == "given":
        stages.append(given)
    else:
        domain = pairs(options["domain"], str)
        stages.append(partial(extract, complete=_complete(options), domain=domain))
    stages.append(partial(faithful, similarity=options["faithful"], ngram=options["leak_ngram"]))
    model, tokenizer = load_model(options["judge"])
    least = pairs(options["threshold"], float)
    how = {"discount": options["discount"], "threshold": least, "batch": options["batch_size"]}
    stages.append(partial(keep, model=model, tokenizer=tokenizer, **how))
    return stages


def build_first(settings: str) -> Sequence[Stage]:
    """The stages that must see all documents in one process."""
    options = json.loads(settings)
    stages: list[Stage] = []
    if options["duplicates"] < 1:
        stages.append(partial(dedup, threshold=options["duplicates"]))
    if options["evaluation_set"]:
        tests = [text for path in options["evaluation_set"] for text in _texts(path)]
        stages.append(partial(decontaminate, tests=tests, ngram=options["ngram"]))
    return stages


def cut(documents: Iterable[Document], settings: str) -> Iterable[Document]:
    """The documents in pieces; those that have their rationales already stay whole."""
    options = json.loads(settings)
    if options["writer"] == "given":
        return documents
    name = options["segment_tokenizer"]
    return segment(
        documents, options["segment_tokens"], load_padded_tokenizer(name) if name else None
    )


def write_references(settings: str) -> None:
    """Embed the reference sets once, for all processes."""
    options = json.loads(settings)
    if not options["reference"] or Path(options["references"]).exists():
        return
    embed = _embed(options)
    sets = pairs(options["reference"], str, fallback=False)
    found = {name: reference(_texts(path), embed) for name, path in sets.items()}
    started = options["references"] + ".tmp"
    save_file(found, started)
    os.replace(started, options["references"])


def pairs(
    said: Sequence[str], kind: Callable[[str], Any], *, fallback: bool = True
) -> Mapping[str, Any]:
    """``["0", "gsm8k=1.2"]`` -> ``{"": 0.0, "gsm8k": 1.2}``.

    Raises:
        ValueError: a value is not of the kind, or has no name where there is no fallback.
    """
    found = {}
    for text in said:
        name, equals, value = text.rpartition("=")
        if not equals and not fallback:
            raise ValueError(f"got {text!r}; write NAME=FILE")
        try:
            found[name] = kind(value)
        except ValueError:
            raise ValueError(f"got {text!r}; write a number, or SOURCE=NUMBER") from None
    return found


def _texts(path: str) -> list[str]:
    """The texts of a file that is compared to; what could not be read of it is printed."""
    reading = ReadReport()
    texts = list(read_texts(path, reading))
    if not texts:
        raise ValueError(f"{path} has no text to compare to: {reading}")
    if reading.malformed:
        print(f"{path}: {reading}")
    return texts


def _embed(options: Mapping[str, Any]) -> Any:
    name = options["embedder"]
    return _function(name) if ":" in name else sentence_embedder(name)


def _complete(options: Mapping[str, Any]) -> Any:
    name = options["writer"]
    if options["endpoint"]:
        names = ("key", "concurrency", "per_minute", "attempts", "timeout", "max_tokens")
        return Endpoint(options["endpoint"], name, **{key: options[key] for key in names})
    if ":" in name:
        return _function(name)
    model, tokenizer = load_model(name)
    tokens, batch = options["max_tokens"], options["batch_size"]
    return ChatModel(model, tokenizer, max_new_tokens=tokens, batch=batch)


def _function(name: str) -> Any:
    """``package.module:function``, for what has no option."""
    module, _, function = name.partition(":")
    found = getattr(import_module(module), function, None)
    if not callable(found):
        raise ValueError(f"got {name!r}; the module {module} has no function {function!r}")
    return found
