"""Files that are not what a command reads, and the commands that get them."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

__all__ = ["bad_commands", "bad_files"]

ROW = {"prompt": "1 + 1 =", "question": "1 + 1", "answer": "2", "input": "1 + 1 =", "id": "1"}
WRONG_TYPES = {"prompt": 7, "question": [], "samples": "x", "steps": {}, "labels": 3, "text": None}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 99\n"


def bad_files() -> dict[str, bytes]:
    """Contents by the name of the file."""
    good = json.dumps(ROW).encode() + b"\n"
    return {
        "empty.jsonl": b"",
        "blank.jsonl": b"\n" * 500,
        "bytes.jsonl": bytes(range(256)) * 40,
        "nul.jsonl": b"\0" * 5000,
        "utf16.jsonl": good.decode().encode("utf-16"),
        "latin.jsonl": '{"prompt": "\xe9"}\n'.encode("latin-1"),
        "cut.jsonl": good[:-9],
        "deep.jsonl": b"[" * 200_000 + b"\n",
        "deep_object.jsonl": b'{"prompt": ' * 50_000 + b"\n",
        "long_line.jsonl": b'{"prompt": "' + b"y" * 20_000_000 + b'"}\n',
        "digits.jsonl": b'{"prompt": "a", "answer": ' + b"9" * 6000 + b"}\n",
        "surrogate.jsonl": b'{"prompt": "\\ud800", "samples": ["\\udfff"], "steps": ["\\ud800"]}\n',
        "numbers.jsonl": b"1\n2\n3\n",
        "list.jsonl": b"[" + good.strip() + b"]",
        "other_columns.jsonl": b'{"a": 1}\n' * 50,
        "wrong_types.jsonl": json.dumps(WRONG_TYPES).encode() + b"\n",
        "nan.jsonl": b'{"prompt": NaN, "labels": [Infinity], "steps": [NaN], "delta": -Infinity}\n',
        "page.jsonl": b"<!DOCTYPE html><html><body>404</body></html>\n",
        "table.jsonl": b"question,answer\n1 + 1,2\n",
        "pointer.jsonl": LFS,
        "packed.jsonl": gzip.compress(good * 20),
        "cut.jsonl.gz": gzip.compress(good * 20)[:-9],
        "bomb.jsonl.gz": gzip.compress(b"\0" * 300_000_000, 1),
        "columns.parquet": b"PAR1" + b"\0" * 100,
        "archive.jsonl": b"PK\x03\x04" + b"\0" * 100,
    }


def bad_commands(data: Path, out: Path) -> Iterator[list[str]]:
    """Each command that reads rows, with each of the files and an output of its own."""
    short = ["--max-new-tokens", "4"]
    commands = [
        ["generate", *short],
        ["eval", "--strategy", "greedy", *short],
        ["verify", "--threshold", "0.5"],
        ["label", "--scorer", "tiny"],
        ["rerank", "--scorer", "tiny"],
        ["mine", "--writer", "tagged", "--loss-model", "tiny"],
        ["trace"],
        *(["train", kind] for kind in ("prm", "orm", "active", "rationalyst", "ngram-ranker")),
        ["train", "calibration"],
        ["train", "negative", "--lora-rank", "2"],
    ]
    for number, name in enumerate(sorted(bad_files())):
        for command in commands:
            output = out / f"{number}-{'-'.join(command[:2])}"
            yield [*command, "--input", str(data / name), "--output", str(output)]
