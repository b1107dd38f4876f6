"""Settings of a run: everything that its results depend on, in a form that can be compared."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

__all__ = ["folder_fingerprint", "run_settings"]

MEBIBYTE = 2**20


def run_settings(
    options: Mapping[str, Any], *, models: Iterable[str] = (), items: Any = None
) -> dict[str, Any]:
    """Settings of a run: its options, fingerprints of its models and a hash of its items.

    Args:
        options: the options that results depend on, such as ``dataclasses.asdict`` of a config,
            ready for ``json.dumps``.
        models: names of the options that hold a model's folder, whose files are fingerprinted.
        items: anything whose ``repr`` shows all that results depend on.

    Examples:
        >>> run_settings({"model": "tiny", "n": 8}, models=["model"], items=["1 + 1 ="])
        {'model': 'tiny', 'n': 8, 'weights': {'model': None}, 'items': 'e47b8c5f3886fa85'}
    """
    weights = {name: folder_fingerprint(options[name]) for name in models if options.get(name)}
    return {**options, "weights": weights, "items": sha256(repr(items).encode()).hexdigest()[:16]}


def folder_fingerprint(name: str) -> str | None:
    """Hash of a model folder, from the name, size, first and last MiB of each file.

    Args:
        name: a folder, or any other name of a model, for which the hash is ``None``.
    """
    folder = Path(name)
    if not folder.is_dir():
        return None
    found = sha256()
    for path in sorted(x for x in folder.iterdir() if x.is_file()):
        size = path.stat().st_size
        found.update(f"{path.name} {size} ".encode())
        with path.open("rb") as file:
            found.update(file.read(MEBIBYTE))
            file.seek(max(size - MEBIBYTE, 0))
            found.update(file.read(MEBIBYTE))
    return found.hexdigest()[:16]
