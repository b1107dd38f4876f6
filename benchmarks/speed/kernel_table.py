"""What the kernel benchmarks share: shapes of real models, measuring, the table and the plot."""

import argparse
import ctypes
import gc
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from reason_decode.io.console import table

# Hidden size and vocabulary of output matrices, and rows to score.
PRESETS = {
    "tiny": (512, 256, 512),
    "small-vocabulary": (512, 2048, 8192),
    "narrow": (4096, 256, 128256),
    "llama-3.2-1b": (512, 2048, 128256),
    "llama-3-8b": (8192, 4096, 128256),
    "qwen-2.5-7b": (8192, 3584, 152064),
    "gemma-2-9b": (8192, 3584, 256000),
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Way(NamedTuple):
    """One way to the same numbers; what does not ``read`` them from its result is a floor."""

    name: str
    call: Callable[[], Any]
    read: Callable[[Any], Tensor] | None = None


class Case(NamedTuple):
    """One shape: the floor and then the ways, and what the ways should give.

    Attributes:
        title: says the shape.
        ways: the floor first.
        truth: float64.
        flops: multiplications and additions of one call.
        moved: bytes that any way has to read and write.
    """

    title: str
    ways: list[Way]
    truth: Tensor
    flops: float
    moved: float


def run(
    doc: str, argv: Sequence[str] | None, build: Callable[[argparse.Namespace, str], Case]
) -> int:
    """Check, time and print every preset that was asked for."""
    args = parser(doc).parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    with torch.no_grad():
        cases = (build(args, preset) for preset in args.preset)
        show(args, {case.title: compare(args, case) for case in cases})
    return 0


def parser(doc: str) -> argparse.ArgumentParser:
    """The arguments of every kernel benchmark."""
    made = argparse.ArgumentParser(description=doc.partition("\n")[0])
    made.add_argument("--preset", choices=PRESETS, nargs="+", default=["small-vocabulary"])
    made.add_argument("--rows", type=int, help="rows to score, instead of the preset's")
    made.add_argument("--dtype", choices=DTYPES, default="float32")
    made.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    made.add_argument("--rounds", type=int, default=5, help="timed calls of each way, in turns")
    made.add_argument("--threads", type=int, help="of the CPU")
    made.add_argument(
        "--plot", type=Path, help="write seconds and memory as a picture, .png or .svg"
    )
    return made


def inputs(
    args: argparse.Namespace, preset: str, contexts: int
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Hidden states (t, h) for each context, the output matrix (v, h) and targets (t,)."""
    rows, width, vocabulary = PRESETS[preset]
    generator = torch.Generator(args.device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        made = torch.randn(*shape, generator=generator, device=args.device)
        return made.to(DTYPES[args.dtype])

    rows = args.rows or rows
    hidden = [normal(rows, width) for _ in range(contexts)]
    targets = torch.randint(0, vocabulary, (rows,), generator=generator, device=args.device)
    # Logits of a few nats, as a language model's are.
    return hidden, normal(vocabulary, width) * (2 / width**0.5), targets


def compare(args: argparse.Namespace, case: Case) -> list[dict[str, str]]:
    """Rows of the table: errors first, then the cost of each way beside that of the floor."""
    ways = case.ways
    errors: dict[str, str] = {}
    extra: dict[str, int] = {}
    for way in tqdm(ways, desc="checking", unit="way", disable=None):
        result = way.call()  # the first call compiles what is compiled
        errors[way.name] = "-" if way.read is None else _error(way, way.read(result), case.truth)
        del result
        extra[way.name] = peak(way.call, args.device)
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    for _ in tqdm(range(args.rounds), desc="timing", unit="round", disable=None):
        for way in ways:
            seconds[way.name].append(time_of(way.call, args.device))
    best = {name: min(each) for name, each in seconds.items()}
    floor = best[ways[0].name]
    return [
        {
            "way": name,
            "ms": f"{1e3 * taken:.1f}",
            "of floor": f"{taken / floor:.2f}",
            "extra MiB": f"{extra[name] / 2**20:.0f}",
            "GFLOP/s": f"{case.flops / taken / 1e9:.0f}",
            "GB/s": f"{case.moved / taken / 1e9:.1f}",
            "max error": errors[name],
        }
        for name, taken in best.items()
    ]


def _error(way: Way, found: Tensor, truth: Tensor) -> str:
    """The largest error, in nats; one that is no rounding stops the benchmark."""
    error = (found.double() - truth).abs().max().item()
    if not error < 0.3:
        raise AssertionError(f"{way.name}: wrong by {error} nats")
    return f"{error:.1e}"


def time_of(call: Callable[[], Any], device: str) -> float:
    """Seconds of one call."""
    gc.collect()
    if device.startswith("cuda"):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def peak(call: Callable[[], Any], device: str) -> int:
    """Bytes held at once during one call, beside what was held before; on a CPU, Linux only."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - held
    if not sys.platform.startswith("linux"):
        call()
        return 0
    # Blocks from 1 MiB on come from the system and go back to it: what earlier ways left in the
    # allocator's heap, in holes or whole, would hide memory or be counted as this way's.
    _map_from(1 << 20)
    held = _resident(reset=True)
    call()
    most = _resident()
    _map_from(1 << 25)
    return max(0, most - held)


def _map_from(size: int) -> None:
    """Let the C library map blocks of this size and larger by themselves, where it can."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, size)  # M_MMAP_THRESHOLD


def _resident(reset: bool = False) -> int:
    """Peak resident bytes of this process; ``reset`` begins a new peak at what is held now."""
    if reset:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def show(args: argparse.Namespace, tables: dict[str, list[dict[str, str]]]) -> None:
    """Print a table for each preset, and draw them all where asked to."""
    for title, rows in tables.items():
        print(f"\n{title}\n{table(rows)}")
    if args.plot is None:
        return
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--plot needs matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(10, 3 * len(tables)), layout="constrained")
    for line, (title, rows) in zip(
        figure.subplots(len(tables), 2, squeeze=False), tables.items(), strict=True
    ):
        for axes, column in zip(line, ("of floor", "extra MiB"), strict=True):
            bars = axes.barh([row["way"] for row in rows], [float(row[column]) for row in rows])
            axes.bar_label(bars, [row[column] for row in rows], padding=2)
            axes.invert_yaxis()
            axes.set_title(title if column == "of floor" else "")
            axes.set_xlabel("time / floor" if column == "of floor" else column)
        line[1].set_yticklabels([])
    figure.savefig(args.plot)


def same(result: Tensor) -> Tensor:
    """The log-probabilities of a way that gives them as they are."""
    return result


def negative(result: Tensor) -> Tensor:
    """The log-probabilities of a way that gives losses."""
    return -result


def optional(name: str) -> Any:
    """A module that not everyone has, or ``None``."""
    try:
        return __import__(name, fromlist=["_"])
    except ImportError:
        return None
