"""Saves a strategy as a folder for ``generate(custom_generate=folder)``."""

import json
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

from reason_decode.core.class_paths import import_path
from reason_decode.io.jsonl import write_text
from reason_decode.scorers.base import Scorer
from reason_decode.scorers.saved import scorer_settings

__all__ = ["save_strategy"]

_CODE_MARKER = "from reason_decode.strategies.load import generate_from_settings"
_CODE = '''"""{name} of reason-decode; README.md says how to call it."""

import json

from reason_decode.strategies.load import generate_from_settings

SETTINGS = json.loads(
    r"""
{settings}
"""
)


def generate(model, **arguments):
    """Decode with the strategy; takes the arguments of ``model.generate``."""
    return generate_from_settings(SETTINGS, model, **arguments)
'''

# A card with this line is ours to rewrite; without it the card is somebody's own.
_CARD_MARKER = "<!-- Written by reason-decode: save_pretrained rewrites a card with this line. -->"
_CARD = """---
library_name: transformers
tags:
- custom_generate
---

{marker}

# {name}

{line}

## Base model

Any decoder-only model of `transformers` whose key-value cache can be branched.

## Model compatibility

Needs `pip install reason-decode`. A model or option that cannot work is refused, with the reason,
before the first forward pass.

## Additional arguments

`tokenizer`: the model's tokenizer; by default the one at `model.name_or_path` is loaded.
`streamer`: receives the steps as they are decided. {arguments}

## Output type changes

With `return_dict_in_generate=True` a `ReasoningOutput`, which also has `.traces` and `.cost`.

## Example usage

```python
out = model.generate(
    **inputs,
    max_new_tokens=512,
    do_sample=True,
    tokenizer=tokenizer,
    custom_generate="this-folder-or-its-hub-id",
    trust_remote_code=True,
)
```
"""


def save_strategy(strategy: Any, folder: Path) -> None:
    """Write ``custom_generate/generate.py``, its requirements, and a model card.

    A README.md that is not our own card is left alone.

    Args:
        strategy: a ``Strategy``.
        folder: created if missing.

    Raises:
        ValueError: the strategy could not be loaded again: an argument cannot be saved, a class
            cannot be imported, or its constructor takes other arguments than its fields.
        FileExistsError: the folder holds a ``custom_generate/generate.py`` that is not ours.
    """
    settings = _settings(strategy)
    code = folder / "custom_generate" / "generate.py"
    if code.exists() and _CODE_MARKER not in code.read_text(encoding="utf-8"):
        raise FileExistsError(
            f"{code} is there already and was not written by reason-decode; name another folder"
        )
    code.parent.mkdir(parents=True, exist_ok=True)
    name = type(strategy).__name__
    write_text(code, _CODE.format(name=name, settings=json.dumps(settings, indent=2)))
    _require(code.with_name("requirements.txt"))
    card = folder / "README.md"
    if not card.exists() or _CARD_MARKER in card.read_text(encoding="utf-8"):
        write_text(card, _model_card(strategy, settings))


def _settings(strategy: Any) -> dict[str, Any]:
    """Class and arguments of a strategy as plain JSON.

    Tokenizer and streamer are left out: whoever calls ``generate`` brings them.
    """
    path = import_path(type(strategy))
    try:
        replace(strategy)
    except TypeError as error:
        raise ValueError(
            f"got a {type(strategy).__name__} that its fields do not rebuild ({error}); let its "
            "constructor take the fields of the dataclass"
        ) from error
    arguments: dict[str, Any] = {}
    for field in fields(strategy):
        value = getattr(strategy, field.name)
        if field.name in ("tokenizer", "streamer"):
            continue
        if isinstance(value, Scorer):
            arguments[field.name] = scorer_settings(value)
        elif value is None or isinstance(value, bool | int | float | str):
            arguments[field.name] = value
        elif isinstance(value, list | tuple) and all(isinstance(x, str) for x in value):
            arguments[field.name] = list(value)
        elif field.default is MISSING or value is not field.default:
            raise ValueError(
                f"got {field.name}={value!r}, which cannot be saved; allowed are numbers, texts, "
                "and scorers. Leave it at its default, or pass the strategy itself to "
                "custom_generate"
            )
    return {"class": path, "arguments": arguments}


def _require(path: Path) -> None:
    """Add reason-decode to a requirements file, keeping what is in it."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if "reason-decode" not in lines:
        write_text(path, "".join(f"{line}\n" for line in [*lines, "reason-decode"]))


def _model_card(strategy: Any, settings: dict[str, Any]) -> str:
    plain = [name for name, x in settings["arguments"].items() if not isinstance(x, dict)]
    return _CARD.format(
        marker=_CARD_MARKER,
        name=type(strategy).__name__,
        line=(type(strategy).__doc__ or "").partition("\n")[0],
        arguments=f"The strategy's own ({', '.join(plain)}) override the saved ones." * bool(plain),
    )
