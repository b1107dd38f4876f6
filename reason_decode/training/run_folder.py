"""The folder of a training run: it remembers its settings, and two runs never share it."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any

from safetensors import SafetensorError

from reason_decode.io.journal import check_settings, lock
from reason_decode.io.jsonl import write_text
from reason_decode.runs.settings import folder_fingerprint

__all__ = [
    "SETTINGS",
    "fingerprint_items",
    "finished_run",
    "last_checkpoint",
    "mark_finished",
    "model_fingerprint",
    "run_folder",
    "write_errors",
]

_log = logging.getLogger(__name__)

SETTINGS = "training.json"
ADVICE = "take another output, or restart (--restart) to train anew in this folder"
_LOCK = "lock"
# Words of the errors of safetensors' and torch's writers, whose classes say no more.
_WRITERS = ("I/O error", "inline_container", "StreamWriter")
_FINISHED = "finished.json"
_MODEL_FILES = ("config.json", "adapter_config.json", "*.safetensors", "checkpoints")


@contextmanager
def run_folder(
    output: Path, settings: Mapping[str, Any], *, restart: bool = False
) -> Iterator[Path]:
    """Context in which a folder belongs to one training run; gives its folder of checkpoints.

    A new run writes ``training.json``, a resumed one must have the same settings.

    Args:
        output: the folder of the run; made if there is none.
        settings: everything that the result depends on, ready for ``json.dumps``.
        restart: delete the checkpoints of an earlier run first.

    Raises:
        ValueError: the folder belongs to a run with other settings, to another process, or holds a
            model that no run of ours made.
    """
    checkpoints = output / "checkpoints"
    if os.environ.get("RANK", "0") != "0":
        yield checkpoints  # of several processes of one run the first one checks and locks
        return
    _refuse_foreign_model(output)
    checkpoints.mkdir(parents=True, exist_ok=True)
    with (checkpoints / _LOCK).open("ab") as file:
        lock(file, output)
        if restart:
            for path in (*checkpoints.glob("checkpoint-*"), *checkpoints.glob("states-*")):
                rmtree(path)
            (output / SETTINGS).unlink(missing_ok=True)
            (checkpoints / _FINISHED).unlink(missing_ok=True)
        check_settings(output / SETTINGS, settings, ADVICE)
        with write_errors(output):
            yield checkpoints


@contextmanager
def write_errors(output: Path) -> Iterator[None]:
    """Context in which failed writes of weights are an ``OSError`` that names the folder.

    safetensors and torch have errors of their own for a full disk.

    Args:
        output: the folder that is written.
    """
    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        if not any(word in str(error) for word in _WRITERS):
            raise
        reason = " ".join(str(error).split())[:200]
        raise OSError(
            f"cannot write to {output}: {reason}; make room, and give the same command again: it "
            "resumes from the last whole checkpoint"
        ) from error


def last_checkpoint(checkpoints: Path) -> str | None:
    """The last checkpoint that was saved whole; others, which a kill cut off, are deleted.

    The Trainer writes ``trainer_state.json`` last.

    Args:
        checkpoints: folder of the checkpoints of a run.
    """
    found = [x for x in checkpoints.glob("checkpoint-*") if x.name.rpartition("-")[2].isdigit()]
    for path in sorted(found, key=lambda x: -int(x.name.rpartition("-")[2])):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            return str(path)
        except (OSError, ValueError):
            if os.environ.get("RANK", "0") == "0":
                _log.warning("%s was not saved whole; the run resumes before it", path)
                rmtree(path, ignore_errors=True)
    return None


def mark_finished(output: Path, result: Mapping[str, Any]) -> None:
    """Keep the result of a run whose model is saved whole."""
    write_text(output / "checkpoints" / _FINISHED, json.dumps(dict(result)))


def finished_run(output: Path) -> dict[str, Any] | None:
    """The result of a run that was finished and whose model is still there; else ``None``."""
    path = output / "checkpoints" / _FINISHED
    saved = (x.relative_to(output).parts[0] for x in output.rglob("*.safetensors"))
    if not path.is_file() or not any(name != "checkpoints" for name in saved):
        return None
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return result if isinstance(result, dict) else None


def fingerprint_items(items: Any) -> str:
    """Hash of training examples: their tokens, and all else that they hold if they are tuples."""
    found = sha256()
    for x in items:
        held = tuple(x) if isinstance(x, tuple) else (list(x.ids), list(x.positions))
        found.update(repr(held).encode())
    return found.hexdigest()[:16]


def model_fingerprint(model: Any) -> dict[str, str | None]:
    """The name of a model and a hash of the folder that it was loaded from."""
    name = str(getattr(model, "name_or_path", "") or "")
    return {"name": name, "weights": folder_fingerprint(name) if name else None}


def _refuse_foreign_model(output: Path) -> None:
    """Raise if a folder holds a model that was not trained there."""
    if not output.is_dir() or (output / SETTINGS).exists():
        return
    held = [path.name for pattern in _MODEL_FILES for path in sorted(output.glob(pattern))]
    # A run that was killed before it wrote its settings leaves the lock alone.
    if held == ["checkpoints"] and {x.name for x in (output / "checkpoints").iterdir()} <= {_LOCK}:
        return
    if held:
        raise ValueError(
            f"the folder {output} holds {held[0]} and no {SETTINGS}: it is no run of training, and "
            "its model would be overwritten; take another output"
        )
