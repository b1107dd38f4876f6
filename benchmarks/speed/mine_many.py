"""A hundred thousand documents mined here, by datatrove's local executor and by Ray: same records?

    pip install -e '.[mining,distributed]' ray
    python -m benchmarks.speed.mine_many --out /tmp/many --executors local ray --tasks 8 --workers 2

Documents are made (sums in words), rationales put in and documents embedded by functions of this
file, and the loss model is the packaged one, or with ``--loss-model small`` a random one of a
twentieth of its size, so that what is measured and checked is the pipeline.
Give the same command again after a kill: every run goes on where it was.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from reason_decode import tiny
from reason_decode.cli import main as reason_decode
from reason_decode.io.console import table

HERE = Path(__file__).resolve()
NAME = HERE.stem


def embed(texts: list[str]) -> list[list[float]]:
    """How much of a text is digits, and how much is not."""
    return [[sum(map(str.isdigit, text)) / len(text), 0.05] for text in texts]


def insert(chats: Iterable[Any]) -> Iterator[str]:
    """A rationale before the second line: a right one, or in a third of the documents a wrong."""
    for chat in chats:
        text = chat[-1]["content"]
        first, _, rest = text.partition("\n")
        thought = "think of the weather" if len(first) % 3 == 0 else "work on: " + first[-12:]
        yield f"{first}\n<BOT>{thought}<EOT>{rest}"


def main(argv: Sequence[str] | None = None) -> int:
    """Make the documents, mine them by each executor, compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--executors", nargs="+", default=["here", "local", "ray"])
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--loss-model", choices=("tiny", "small"), default="tiny")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="of deltas, nats")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    data, near = _data(args.out, args.documents)
    model = "tiny" if args.loss_model == "tiny" else str(_small(args.out / "loss_model"))
    # Other processes have to find the functions of this file, and leave each other the cores.
    os.environ["PYTHONPATH"] = f"{HERE.parent}:{os.environ.get('PYTHONPATH', '')}"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.insert(0, str(HERE.parent))
    found, rows = {}, []
    for kind in args.executors:
        out, began = args.out / kind, time.perf_counter()
        options = ["--writer", f"{NAME}:insert", "--embedder", f"{NAME}:embed"]
        options += ["--references", json.dumps({"sums": str(near)}), "--loss-model", model]
        # A random model makes little of a rationale: about half of the documents lie above nought.
        options += ["--min-loss-delta", "-20" if args.loss_model == "tiny" else "0"]
        options += ["--batch-size", "32"]
        if kind != "here":
            options += ["--executor", kind, "--workers", str(args.tasks)]
            options += ["--executor-options", json.dumps({"workers": args.workers})]
        if status := reason_decode(["mine", "--input", str(data), "--output", str(out), *options]):
            return status
        seconds = time.perf_counter() - began
        found[kind] = _records(out)
        kept = sum(not reason for _, reason, _ in found[kind].values())
        rows.append(
            {
                "executor": kind,
                "results": len(found[kind]),
                "kept": kept,
                "seconds": f"{seconds:.0f}",
                "documents/s": f"{args.documents / seconds:.1f}",
            }
        )
    print(table(rows))
    first, *others = found.items()
    for kind, records in others:
        _compare(first[0], first[1], kind, records, args.tolerance)
    return 0


def _data(out: Path, count: int) -> tuple[Path, Path]:
    """Sums in words, every fiftieth a copy of the one before, every tenth without any number."""
    data, near = out / "documents.jsonl", out / "near.jsonl"
    generator = random.Random(0)
    text = ""
    with data.open("w") as file:
        for k in range(count):
            a, b, c = (generator.randrange(2, 1000) for _ in range(3))
            if k % 50 != 49:
                text = f"Take {a} and {b}, then {c}.\n{a} + {b} = {a + b}\n"
                text += f"{a + b} + {c} = {a + b + c}\n"
            if k % 10 == 0:
                text = f"No sum today, said {'abcdefghij'[k // 10 % 10] * (k % 97 + 1)}.\nBye.\n"
            file.write(json.dumps({"id": str(k), "source": "sums", "text": text}) + "\n")
    near.write_text(json.dumps({"text": "1 + 2 = 3\n3 + 4 = 7"}) + "\n")
    return data, near


def _small(out: Path) -> Path:
    """A random model that reads the packaged one's tokens."""
    tokenizer = tiny.load().tokenizer
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=1024,
    )
    LlamaForCausalLM(config).save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def _records(out: Path) -> dict[tuple[Any, ...], tuple[str, str, float]]:
    """What names each record -> stage, reason, delta; one that is there twice is an error."""
    found: dict[tuple[Any, ...], tuple[str, str, float]] = {}
    for name in ("rationales.jsonl", "dropped.jsonl"):
        with (out / name).open() as file:
            for row in map(json.loads, file):
                key = (row["source"], row["id"], row.get("index"), row.get("rationale"))
                if key in found:
                    raise AssertionError(f"{out}: {key} is there twice")
                found[key] = (row["stage"], row["reason"], row.get("delta") or 0.0)
    return found


def _compare(
    name: str, some: dict[Any, Any], other: str, others: dict[Any, Any], tolerance: float
) -> None:
    """The same records, deltas but for rounding; those at the threshold may fall either way."""
    apart = max((abs(some[key][2] - others[key][2]) for key in some.keys() & others), default=0.0)
    differ = [key for key in some.keys() & others if some[key][:2] != others[key][:2]]
    print(
        f"{name} and {other}: {len(some.keys() ^ others.keys())} records in one only, "
        f"{len(differ)} judged differently, deltas differ by at most {apart:.1e} nats"
    )
    if some.keys() != others.keys() or differ or apart > tolerance:
        raise AssertionError(f"{name} and {other} differ, for instance in {differ[:3]}")


if __name__ == "__main__":
    sys.exit(main())
