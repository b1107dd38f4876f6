"""Writes a strategy down as a folder for ``custom_generate``."""

import json
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from reason_decode.scorers.base import Scorer

__all__ = ["publish"]

_CODE = '''"""{name} of reason-decode; README.md says how to call it."""

import json

from reason_decode.strategies.load import generate_from_settings

SETTINGS = json.loads(
    r"""
{settings}
"""
)


def generate(model, **arguments):
    """Decode with the strategy; takes what ``model.generate`` takes."""
    return generate_from_settings(SETTINGS, model, **arguments)
'''

_CARD = """---
library_name: transformers
tags:
- custom_generate
---

# {name}

{line}

## Base model

Any decoder-only model of `transformers` whose key-value cache can be branched.

## Model compatibility

Needs `pip install reason-decode`. What cannot work says so before the first forward pass.

## Additional arguments

`tokenizer`: the model's own; without it the one is loaded that belongs to the model. `streamer`:
put the steps as they are decided. {arguments}

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


def publish(strategy: Any, folder: Path) -> None:
    """Write ``custom_generate/generate.py``, its requirements, and a model card.

    Raises:
        ValueError: an argument of the strategy cannot be written down.
    """
    settings = _settings(strategy)
    name = settings["strategy"]
    line = (type(strategy).__doc__ or "").partition("\n")[0]
    plain = [key for key, x in settings["arguments"].items() if not isinstance(x, dict)]
    known = f"Those of the strategy ({', '.join(plain)}) override what was saved." if plain else ""
    code = folder / "custom_generate"
    code.mkdir(parents=True, exist_ok=True)
    text = _CODE.format(name=name, settings=json.dumps(settings, indent=2))
    (code / "generate.py").write_text(text)
    (code / "requirements.txt").write_text("reason-decode\n")
    (folder / "README.md").write_text(_CARD.format(name=name, line=line, arguments=known))


def _settings(strategy: Any) -> dict[str, Any]:
    """The strategy's name and arguments as plain JSON; tokenizer and streamer are the caller's."""
    arguments: dict[str, Any] = {}
    for field in fields(strategy):
        value = getattr(strategy, field.name)
        if field.name == "streamer" or isinstance(value, PreTrainedTokenizerBase):
            continue
        if isinstance(value, Scorer):
            arguments[field.name] = {"scorer": type(value).__name__, **value.settings()}
        elif value is None or isinstance(value, bool | int | float | str):
            arguments[field.name] = value
        elif field.default is MISSING or value is not field.default:
            raise ValueError(
                f"got {field.name}={value!r}, which cannot be written down; allowed are numbers, "
                "texts, and scorers with from_pretrained. Leave it at its default, or pass the "
                "strategy itself to custom_generate"
            )
    return {"strategy": type(strategy).__name__, "arguments": arguments}
