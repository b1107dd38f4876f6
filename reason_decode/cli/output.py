"""Results of commands as JSON, in a file or on standard output."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Any

from reason_decode.io.claim import claimed
from reason_decode.io.jsonl import check_writable, write_json

__all__ = ["STANDARD_OUTPUT", "json_output", "path_of"]

STANDARD_OUTPUT = "-"


@contextmanager
def json_output(
    output: str | None, *inputs: str, others: Iterable[str] = (), alone: bool = False
) -> Iterator[Callable[[Any], None]]:
    """A function that writes a result as JSON to a file, to standard output, or nowhere.

    While a result goes to standard output, all else that is printed goes to standard error.

    Args:
        output: a file, ``-`` for standard output, or ``None``.
        inputs: files that the command reads, which the output must not be.
        others: other paths that the command writes, which the output must not be.
        alone: refuse a second process that writes the same file; false where the processes of one
            run share it, or something else of the command is locked.

    Raises:
        ValueError: the file cannot be written, is an input or another output, or another process
            writes it; raised before any work is done.
    """
    if output is None:
        yield lambda result: None
    elif output == STANDARD_OUTPUT:
        stdout = sys.stdout
        with redirect_stdout(sys.stderr):
            yield lambda result: print(json.dumps(result, allow_nan=False), file=stdout, flush=True)
    else:
        check_writable(output, inputs=inputs, outputs=others)
        with claimed(output) if alone else nullcontext():
            yield lambda result: write_json(output, result)


def path_of(output: str | None) -> str | None:
    """The file that an output is, ``None`` if it is none."""
    return None if output == STANDARD_OUTPUT else output
