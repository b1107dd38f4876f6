"""Options of a command line from the fields of a config."""

import inspect
import json
import re
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Collection
from dataclasses import MISSING, Field, fields
from typing import Any, TypeVar, get_args, get_type_hints

__all__ = ["add_config", "make_config"]

Config = TypeVar("Config")


def add_config(parser: ArgumentParser, config: type, without: Collection[str] = ()) -> None:
    """Add an option for each field of a config, with the help text of its docstring.

    Args:
        parser: gets the options.
        config: a dataclass whose docstring, or that of a base class, has a line per field.
        without: names of fields that get no option.
    """
    types, texts = get_type_hints(config), _help_texts(config)
    for field in fields(config):
        if field.name not in without:
            _add_field(parser, field, types[field.name], texts[field.name])


def make_config(config: type[Config], args: Namespace, **given: Any) -> Config:
    """The config of parsed options; ``given`` replaces some."""
    values = vars(args) | given
    names = [field.name for field in fields(config)]  # pyright: ignore[reportArgumentType]
    made = {name: values[name] for name in names if name in values}
    return config(**{k: tuple(x) if isinstance(x, list) else x for k, x in made.items()})


def _help_texts(config: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for base in reversed(config.__mro__):
        text = inspect.cleandoc(base.__doc__ or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
        for name, line in re.findall(r"(?ms)^    (\w+): (.*?)(?=^    \w|\Z)", text):
            found[name] = " ".join(line.split()).replace("%", "%%")
    return found


def _add_field(parser: ArgumentParser, field: Field[Any], kind: Any, help: str) -> None:
    options = dict[str, Any](help=help)
    types = [x for x in get_args(kind) if x is not type(None)]
    if field.default is not MISSING:
        options["default"] = field.default
    elif field.default_factory is not MISSING:
        options["default"] = field.default_factory()
    else:
        options["required"] = True
    if isinstance(options.get("default"), dict):
        options |= {"type": _json_object, "metavar": "JSON"}
    elif isinstance(options.get("default"), tuple):
        options["nargs"] = "*"
    elif bool in (kind, *types):
        options["action"] = BooleanOptionalAction
    elif types and isinstance(types[0], str | int):
        options |= {"choices": types, "type": type(types[0])}
    else:
        options["type"] = types[0] if types else kind
    parser.add_argument("--" + field.name.replace("_", "-"), **options)


def _json_object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"got {text}; need a JSON object")
    return found
