"""Commands that write, their inputs, and what they wrote, for ``soak``."""

import json
from pathlib import Path
from typing import Any

__all__ = ["commands", "outputs", "preparations", "write_inputs"]

COUNT = 8
LORA = ["--lora-rank", "2"]
SUMS = [f"(({k} + 1) * (2 - {k})) =" for k in range(COUNT)]
STEPS = [f"We need A * B for {k}." for k in range(12)]
# The training loss is the mean of the steps since the last log or resume, so a resumed run logs
# another one; weights, held-out losses and metrics are compared.
TIMES = ("loss", "seconds", "train_runtime", "train_samples_per_second", "train_steps_per_second")


def write_inputs(folder: Path) -> None:
    """Write the inputs of all commands."""

    def rows(name: str, items: Any) -> None:
        (folder / name).write_text("".join(json.dumps(item) + "\n" for item in items))

    rows("prompts.jsonl", [{"prompt": f"{x}\n"} for x in SUMS])
    (folder / "sums.json").write_text(
        json.dumps({"examples": [{"input": x, "target": "1"} for x in SUMS]})
    )
    mistakes = [{"input": x, "steps": STEPS, "target": "1", "mistake_index": 1} for x in SUMS]
    rows("mistakes.jsonl", mistakes)
    texts = [f"Sum {k}: 2 and {k}.<BOT>Add them.<EOT> 2 + {k} = {k + 2}" for k in range(30)]
    rows("texts.jsonl", [{"id": str(k), "text": text} for k, text in enumerate(texts)])
    labelled = [
        {"prompt": f"{k} + 1 =", "completions": [f"{k} + 1 = {k + 1 + j}"], "labels": [j == 0]}
        for k in range(12)
        for j in range(2)
    ]
    rows("labelled.jsonl", [x | {"correct": x["labels"][0]} for x in labelled])
    samples = [{"prompt": f"{k} + 1 =", "samples": ["1", str(k + 1)], "answer": str(k + 1)}
               for k in range(12)]  # fmt: skip
    rows("samples.jsonl", samples)
    graded = [
        {"prompt": f"{k} + 1 =", "samples": [f"The answer is {x}." for x in (k, k + 1)]}
        | {"answer": str(k + 1)}
        for k in range(8)
    ]
    rows("graded.jsonl", graded)
    rationales = [
        {
            "id": str(k),
            "source": "s",
            "preceding": f"{k} + 1 =\n",
            "rationale": "Add.",
            "delta": 1.0,
        }
        | {"following": f"{k} + 1 = {k + 1}\n"}
        for k in range(8)
    ]
    rows("rationales.jsonl", rationales)


def preparations(data: Path) -> list[list[str]]:
    """The command lines that make inputs of other commands: adapters, and a trace."""
    train = ["train", "negative", "--input", str(data / "graded.jsonl"), "--hold-out", "0"]
    nat = ["train", "nat", *train[2:], "--negative", str(data / "negative"), "--gate-dim", "4"]
    trace = ["generate", "--input", str(data / "prompts.jsonl"), "--n", "2", "--trace"]
    return [
        [*train, *LORA, "--output", str(data / "negative")],
        [*nat, *LORA, "--output", str(data / "nat")],
        [*trace, "--max-new-tokens", "8", "--output", str(data / "generated.jsonl")],
    ]


def commands(data: Path, server: str) -> dict[str, list[str]]:
    """The command lines, without their outputs, by name."""

    def of(*words: str, file: str) -> list[str]:
        return [*words, "--input", str(data / file)]

    sampled = ["--max-new-tokens", "16", "--batch-size", "1"]
    training = ["--batch-size", "2", "--save-steps", "2", "--hold-out", "0.2"]
    adapter = [*training, *LORA]
    return {
        "generate": [*of("generate", file="prompts.jsonl"), "--n", "2", "--trace", *sampled],
        "generate --engine": [
            *of("generate", file="prompts.jsonl"),
            *["--engine", server, "--model", "tiny", "--strategy", "greedy", "--attempts", "9"],
        ],
        "eval": [
            *of("eval", "--task", "bbh-arithmetic", "--strategy", "sample", file="sums.json"),
            *sampled,
        ],
        "verify": [
            *of("verify", "--threshold", "0.5", file="mistakes.jsonl"), "--batch-size", "1"
        ],
        "label": [
            *of("label", "--scorer", "tiny", file="mistakes.jsonl"), "--batch-size", "1"
        ],
        "rerank": of("rerank", "--scorer", "tiny", file="samples.jsonl"),
        "mine": [
            *of("mine", "--writer", "tagged", "--loss-model", "tiny", file="texts.jsonl"),
            *["--min-loss-delta", "-100", "--batch-size", "1"],
        ],
        "train prm": [*of("train", "prm", file="labelled.jsonl"), *training],
        "trace": of("trace", file="generated.jsonl"),
        "train orm": [*of("train", "orm", file="labelled.jsonl"), *training],
        "train ranker": [*of("train", "ranker", file="graded.jsonl"), *adapter],
        "train rationalyst": [*of("train", "rationalyst", file="rationales.jsonl"), *training],
        "train negative": [*of("train", "negative", file="graded.jsonl"), *adapter],
        "train nat": [
            *of("train", "nat", file="graded.jsonl"), *adapter,
            *["--negative", str(data / "negative"), "--gate-dim", "4"],
        ],
        "train nce": [
            *of("train", "nce", file="graded.jsonl"), *adapter, "--nat", str(data / "nat")
        ],
        "train baseline": [
            *of("train", "baseline", "--method", "ft", file="graded.jsonl"), *adapter
        ],
        "train ngram-ranker": [
            *of("train", "ngram-ranker", file="samples.jsonl"), "--min-count", "1"
        ],
        "train active": [
            *of("train", "active", file="labelled.jsonl"), *training, "--rounds", "1"
        ],
    }  # fmt: skip


def outputs(folder: Path) -> dict[str, Any]:
    """The files that a command wrote, without times and without those that only help to resume."""
    found: dict[str, Any] = {}
    for path in sorted(x for x in folder.rglob("*") if x.is_file()):
        name = path.relative_to(folder).as_posix()
        if "checkpoints/" in name or ".run/" in name or "journal/" in name:
            continue
        # What kill -9 leaves of a write that had not ended: a hidden file beside the output.
        if path.name.startswith(".") and path.suffix in (".tmp", ".lock"):
            continue
        if path.suffix in (".safetensors", ".bin"):
            found[name] = path.read_bytes()
        elif path.suffix in (".svg", ".png") or path.name in ("README.md", "settings.json"):
            found[name] = "there"
        elif path.name == "log.jsonl":
            found[name] = len(path.read_text().splitlines())
        else:
            found[name] = _untimed(path.read_text())
    return found


def _untimed(text: str) -> Any:
    try:
        rows = [json.loads(text)]
    except ValueError:
        try:
            rows = [json.loads(line) for line in text.splitlines()]
        except ValueError:
            return text
    return [
        {k: x for k, x in row.items() if k not in TIMES} if isinstance(row, dict) else row
        for row in rows
    ]
