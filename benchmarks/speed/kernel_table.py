"""Shapes, measurements, tables and plots that the kernel benchmarks share."""

import argparse
import ctypes
import gc
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from reason_decode.io.console import table
from reason_decode.io.jsonl import write_json

# Rows to score, hidden size and vocabulary of real models' output matrices.
PRESETS = {
    "tiny": (512, 256, 512),
    "small-vocabulary": (512, 2048, 8192),
    "narrow": (4096, 256, 128256),
    "llama-3.2-1b": (512, 2048, 128256),
    "llama-3-8b": (8192, 4096, 128256),
    "llama-2-7b": (8192, 4096, 32000),
    "qwen-2.5-0.5b": (8192, 896, 151936),
    "qwen-2.5-7b": (8192, 3584, 152064),
    "gemma-2-9b": (8192, 3584, 256000),
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Method(NamedTuple):
    """One implementation to be timed.

    Attributes:
        name: its row in the table.
        call: runs it once.
        to_logprobs: the log-probabilities in the call's result; ``None`` for a lower bound of the
            time, which computes none.
    """

    name: str
    call: Callable[[], Any]
    to_logprobs: Callable[[Any], Tensor] | None = None


class Case(NamedTuple):
    """The methods of one shape, and the values that they should give.

    Attributes:
        title: names the shape.
        methods: the lower bound of the time comes first.
        expected: the right values, float64.
        flops: multiplications and additions of one call.
        bytes_moved: bytes that every method has to read and write.
    """

    title: str
    methods: list[Method]
    expected: Tensor
    flops: float
    bytes_moved: float


def run(
    doc: str, argv: Sequence[str] | None, build: Callable[[argparse.Namespace, str], Case]
) -> int:
    """Check, time and print every preset of a command line.

    Args:
        doc: the benchmark's docstring, for ``--help``.
        argv: the arguments; ``None`` for those of the process.
        build: makes the case of a preset.
    """
    args = make_parser(doc).parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    with torch.no_grad():
        cases = (build(args, preset) for preset in args.preset)
        show(args, {case.title: compare(args, case) for case in cases})
    return 0


def make_parser(doc: str) -> argparse.ArgumentParser:
    """The command line options of the kernel benchmarks."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        nargs="+",
        default=["small-vocabulary"],
        help="shapes of a model's output matrix (default: small-vocabulary)",
    )
    parser.add_argument("--rows", type=int, help="rows to score, instead of the preset's")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="(default: float32)")
    # Not MPS: the values are checked in float64, which it lacks.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=device, help="(default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="timed calls of each method, in turns (default: 5)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's)")
    parser.add_argument("--json", type=Path, help="write the tables to this file")
    parser.add_argument(
        "--plot", type=Path, help="draw seconds and memory into a .png or .svg file"
    )
    return parser


def inputs(
    args: argparse.Namespace, preset: str, contexts: int
) -> tuple[list[Tensor], Tensor, Tensor]:
    """Random hidden states (t, h) for each context, an output matrix (v, h) and targets (t,).

    Args:
        args: options from ``make_parser``.
        preset: a key of ``PRESETS``.
        contexts: number of hidden states.
    """
    rows, width, vocabulary = PRESETS[preset]
    generator = torch.Generator(args.device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=generator, device=args.device)
        return values.to(DTYPES[args.dtype])

    rows = args.rows or rows
    hidden = [normal(rows, width) for _ in range(contexts)]
    targets = torch.randint(0, vocabulary, (rows,), generator=generator, device=args.device)
    # Scaled so that logits are a few nats, as those of a language model.
    return hidden, normal(vocabulary, width) * (2 / width**0.5), targets


def compare(args: argparse.Namespace, case: Case) -> list[dict[str, str]]:
    """Rows of the table: check every method, then time all in turns; the best of its calls counts.

    Args:
        args: options from ``make_parser``.
        case: the methods and the expected values.

    Raises:
        AssertionError: a method gives wrong values.
    """
    errors: dict[str, str] = {}
    repeats: dict[str, str] = {}
    extra: dict[str, int] = {}
    for method in tqdm(case.methods, desc="checking", unit="method", disable=None):
        result = method.call()  # The first call compiles, if the method is compiled.
        errors[method.name] = _error(method, result, case.expected)
        repeats[method.name] = _repeats(method, result)
        del result
        extra[method.name] = peak_memory(method.call, args.device)
    seconds: dict[str, list[float]] = {method.name: [] for method in case.methods}
    for _ in tqdm(range(args.rounds), desc="timing", unit="round", disable=None):
        for method in case.methods:
            seconds[method.name].append(seconds_of(method.call, args.device))
    best = {name: min(each) for name, each in seconds.items()}
    floor = best[case.methods[0].name]
    return [
        {
            "method": name,
            "ms": f"{1e3 * taken:.1f}",
            "of floor": f"{taken / floor:.2f}",
            "extra MiB": f"{extra[name] / 2**20:.0f}",
            "GFLOP/s": f"{case.flops / taken / 1e9:.0f}",
            "GB/s": f"{case.bytes_moved / taken / 1e9:.1f}",
            "max error": errors[name],
            "same twice": repeats[name],
        }
        for name, taken in best.items()
    ]


def _error(method: Method, result: Any, expected: Tensor) -> str:
    """The largest error in nats; raises if it is too large to be rounding."""
    if method.to_logprobs is None:
        return "-"
    error = (method.to_logprobs(result).double() - expected).abs().max().item()
    if not error < 0.3:
        raise AssertionError(f"{method.name}: wrong by {error} nats")
    return f"{error:.1e}"


def _repeats(method: Method, result: Any) -> str:
    """Yes if a second call gives the same bits."""
    if method.to_logprobs is None:
        return "-"
    first, again = method.to_logprobs(result), method.to_logprobs(method.call())
    return "yes" if torch.equal(first, again) else "no"


def seconds_of(call: Callable[[], Any], device: str) -> float:
    """Seconds of one call on a device."""
    gc.collect()
    if device.startswith("cuda"):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory(call: Callable[[], Any], device: str) -> int:
    """Peak bytes of one call beyond those held before it; 0 on the CPU of other systems than Linux.

    Args:
        call: what to measure.
        device: ``"cpu"`` or a CUDA device.
    """
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    if not sys.platform.startswith("linux"):
        call()
        return 0
    # Blocks of 1 MiB and more are taken from the system and given back to it. Free blocks that
    # earlier methods left in the allocator's heap would otherwise hide the memory of this call.
    _set_mmap_threshold(1 << 20)
    before = _resident(reset=True)
    call()
    most = _resident()
    _set_mmap_threshold(1 << 25)
    return max(0, most - before)


def _set_mmap_threshold(size: int) -> None:
    """Have the C library map blocks of at least this size one by one, if it can."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-3, size)  # M_MMAP_THRESHOLD


def _resident(reset: bool = False) -> int:
    """Peak resident bytes of this process; ``reset`` starts a new peak at the current bytes."""
    if reset:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def show(args: argparse.Namespace, tables: dict[str, list[dict[str, str]]]) -> None:
    """Print each table; draw all of them into ``--plot`` and write them to ``--json``.

    Args:
        args: options from ``make_parser``.
        tables: title -> rows from ``compare``.
    """
    for title, rows in tables.items():
        print(f"\n{title}\n{table(rows)}")
    if args.json is not None:
        given = {x: str(v) if isinstance(v, Path) else v for x, v in vars(args).items()}
        write_json(args.json, {**machine(args.device), **given, "tables": tables})
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
            bars = axes.barh([row["method"] for row in rows], [float(row[column]) for row in rows])
            axes.bar_label(bars, [row[column] for row in rows], padding=2)
            axes.invert_yaxis()
            axes.set_title(title if column == "of floor" else "")
            axes.set_xlabel("time / floor" if column == "of floor" else column)
        line[1].set_yticklabels([])
    figure.savefig(args.plot)


def machine(device: str) -> dict[str, str]:
    """The device and the versions that figures belong to."""
    name = torch.cuda.get_device_name() if device.startswith("cuda") else platform.processor()
    versions = {x: version(x) for x in ("torch", "triton") if find_spec(x) is not None}
    return {"device_name": name or platform.machine(), **versions}


def as_is(result: Tensor) -> Tensor:
    """The log-probabilities of a method that returns log-probabilities."""
    return result


def negated(result: Tensor) -> Tensor:
    """The log-probabilities of a method that returns losses."""
    return -result


def import_optional(name: str) -> Any:
    """A module, or ``None`` if it is not installed."""
    try:
        return __import__(name, fromlist=["_"])
    except ImportError:
        return None
