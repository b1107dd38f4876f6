"""Documents a second of mining 100,000 documents, and equal records from each executor.

    pip install -e '.[mining,distributed]' ray
    python -m benchmarks.speed.mine_many --output /tmp/many --executors local ray

The documents are generated (sums in words). Functions of this file write rationales into them and
embed them, so that the pipeline is measured and not a large model. The loss model is the packaged
one, or with ``--loss-model small`` a random one of a twentieth of its size. After a kill the same
command continues every run.
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


def embed(texts: list[str]) -> list[list[float]]:
    """Toy embeddings of texts: the share of digits, and a constant."""
    return [[sum(map(str.isdigit, text)) / len(text), 0.05] for text in texts]


def insert(chats: Iterable[Any]) -> Iterator[str]:
    """Texts with a rationale before the second line, a wrong one in a third of them."""
    for chat in chats:
        text = chat[-1]["content"]
        first, _, rest = text.partition("\n")
        wrong = len(first) % 3 == 0
        rationale = "think of the weather" if wrong else "work on: " + first[-12:]
        yield f"{first}\n<BOT>{rationale}<EOT>{rest}"


def main(argv: Sequence[str] | None = None) -> int:
    """Generate documents, mine them with each executor, compare the records."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of all runs")
    parser.add_argument(
        "--documents", type=int, default=100_000, help="documents (default: 100,000)"
    )
    parser.add_argument(
        "--executors",
        nargs="+",
        default=["here", "local", "ray"],
        help="here (this process) or executors of `reason-decode mine` (default: here local ray)",
    )
    parser.add_argument("--tasks", type=int, default=8, help="parts of the work (default: 8)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--loss-model", choices=("tiny", "small"), default="tiny", help="(default: tiny)"
    )
    parser.add_argument(
        "--tolerance", type=float, default=1e-3, help="of deltas, in nats (default: 0.001)"
    )
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    _write_documents(args.output, args.documents)
    if args.loss_model == "small":
        _save_small_model(args.output / "loss_model")
    # Worker processes import the functions of this file, and use one core each.
    os.environ["PYTHONPATH"] = f"{HERE.parent}:{os.environ.get('PYTHONPATH', '')}"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.insert(0, str(HERE.parent))
    found, rows = {}, []
    for executor in args.executors:
        start = time.perf_counter()
        if status := reason_decode(_command(args, executor)):
            return status
        seconds = time.perf_counter() - start
        found[executor] = _records(args.output / executor)
        kept = sum(not reason for _, reason, _ in found[executor].values())
        rows.append(
            {
                "executor": executor,
                "results": len(found[executor]),
                "kept": kept,
                "seconds": f"{seconds:.0f}",
                "documents/s": f"{args.documents / seconds:.1f}",
            }
        )
    print(table(rows))
    first, *others = found.items()
    for executor, records in others:
        _compare(first[0], first[1], executor, records, args.tolerance)
    return 0


def _command(args: argparse.Namespace, executor: str) -> list[str]:
    """The arguments of ``reason-decode`` for one executor."""
    folder, small = args.output, args.loss_model == "small"
    options = {
        "--input": folder / "documents.jsonl",
        "--output": folder / executor,
        "--writer": f"{HERE.stem}:insert",
        "--embedder": f"{HERE.stem}:embed",
        "--references": json.dumps({"sums": str(folder / "near.jsonl")}),
        "--loss-model": folder / "loss_model" if small else "tiny",
        # With a random model a rationale changes little: about half of the deltas are above 0.
        "--min-loss-delta": "0" if small else "-20",
        "--batch-size": 32,
    }
    if executor != "here":
        options |= {
            "--executor": executor,
            "--workers": args.tasks,
            "--executor-options": json.dumps({"workers": args.workers}),
        }
    return ["mine", *(str(word) for option in options.items() for word in option)]


def _write_documents(folder: Path, count: int) -> None:
    """Write ``documents.jsonl`` and the reference texts ``near.jsonl``.

    The documents are sums in words; every fiftieth is a copy of the one before, and every tenth has
    no number.
    """
    generator = random.Random(0)
    text = ""
    with (folder / "documents.jsonl").open("w") as file:
        for k in range(count):
            a, b, c = (generator.randrange(2, 1000) for _ in range(3))
            if k % 50 != 49:
                text = f"Take {a} and {b}, then {c}.\n{a} + {b} = {a + b}\n"
                text += f"{a + b} + {c} = {a + b + c}\n"
            if k % 10 == 0:
                text = f"No sum today, said {'abcdefghij'[k // 10 % 10] * (k % 97 + 1)}.\nBye.\n"
            file.write(json.dumps({"id": str(k), "source": "sums", "text": text}) + "\n")
    (folder / "near.jsonl").write_text(json.dumps({"text": "1 + 2 = 3\n3 + 4 = 7"}) + "\n")


def _save_small_model(folder: Path) -> None:
    """Write a small random model with the packaged tokenizer."""
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
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _records(out: Path) -> dict[tuple[Any, ...], tuple[str, str, float]]:
    """The stage, reason and delta of each record by its key; a key that occurs twice raises."""
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
    """Raise unless two runs have equal records, with equal deltas up to the tolerance."""
    apart = max((abs(some[key][2] - others[key][2]) for key in some.keys() & others), default=0.0)
    differ = [key for key in some.keys() & others if some[key][:2] != others[key][:2]]
    print(
        f"{name} and {other}: {len(some.keys() ^ others.keys())} records in one only, "
        f"{len(differ)} decided differently, deltas differ by at most {apart:.1e} nats"
    )
    if some.keys() != others.keys() or differ or apart > tolerance:
        raise AssertionError(f"{name} and {other} differ, for instance in {differ[:3]}")


if __name__ == "__main__":
    sys.exit(main())
