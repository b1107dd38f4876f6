"""Command lines and YAML files as configs.

A config is a frozen dataclass that checks its values in ``__post_init__``. tyro makes the options
of its fields: the docstring's ``Args`` are the help texts, each nested dataclass is a group.
"""

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, is_dataclass, make_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec

from reason_decode.runs.options import Shard

__all__ = ["parse_config"]

Config = TypeVar("Config")


class _Words(tuple[str, ...]):
    """An option of several words, a field of type ``tuple[str, ...]``."""


class _JsonObject(dict[str, Any]):
    """An option that is a JSON object, a field of type ``Mapping[str, Any]``."""


CONFIG_HELP = "YAML file with options, such as `n: 8`; options on the command line override it."


def parse_config(config: type[Config], prog: str, argv: Sequence[str]) -> Config:
    """The config that a command line, and the YAML file that its ``--config`` names, describe.

    Args:
        config: a frozen dataclass; the fields of nested dataclasses are options like its own.
        prog: the command, for help and errors: ``reason-decode eval``.
        argv: the options.

    Raises:
        SystemExit: with status 0 after ``--help``, with 2 after a usage error, which is printed.
        ValueError: the config's own checks, or the YAML file, refuse a value.
        OSError: the YAML file cannot be read.
    """
    names = {option.name: option for option in _options(config)}
    assert len(names) == sum(1 for _ in _options(config)), "two options of one name"
    path = _config_path(argv)
    given = [] if path is None else _arguments(path, names)
    parsed = tyro.cli(
        _unchecked(config),
        prog=prog,
        description=_summary(config),
        args=[*given, *argv],
        config=(tyro.conf.OmitArgPrefixes,),
        registry=_registry(),
    )
    return _checked(config, vars(parsed))


def _options(config: type) -> Iterator[Field[Any]]:
    """The fields of a config and of the dataclasses nested in it."""
    types = get_type_hints(config)
    for one in fields(config):
        if _is_config(types[one.name]):
            yield from _options(types[one.name])
        else:
            yield one


def _is_config(kind: Any) -> bool:
    """True if a field's type is a nested config; a shard is one option."""
    return is_dataclass(kind) and kind is not Shard


def _groups(config: type) -> Iterator[tuple[str, type, Any]]:
    """Name, class and default of each nested dataclass, at any depth."""
    types = get_type_hints(config)
    for one in fields(config):
        kind = types[one.name]
        if _is_config(kind):
            yield one.name, kind, _default(one)
            yield from _groups(kind)


def _unchecked(config: type) -> type:
    """A copy of a config without its checks, a group for each dataclass nested in it.

    tyro catches what the checks raise and prints it in a box that wraps lines. The checks run after
    it, so that their errors look like all others.
    """
    made = _plain_fields(config, None) + [
        ("config", Annotated[str, _argument(CONFIG_HELP, None, "FILE")], field(default=""))
    ]
    for name, kind, default in _groups(config):
        group = _make(kind, _plain_fields(kind, default))
        needed = any(x.default is MISSING is x.default_factory for x in fields(group))
        given = field() if needed else field(default_factory=group)
        made.append((name, Annotated[group, tyro.conf.arg(help=_summary(kind))], given))
    return _make(config, made)


def _make(config: type, made: list[Any]) -> type:
    found = make_dataclass(config.__name__, made, frozen=True, kw_only=True)
    # tyro looks for comments in the source of a class. A module that is not there saves the search.
    found.__module__ = "<options>"
    return found


def _plain_fields(config: type, instance: Any) -> list[Any]:
    """The fields that are no dataclasses, with help texts and the defaults of an instance."""
    types, texts = get_type_hints(config), _help_texts(config)
    found: list[Any] = []
    for one in fields(config):
        kind = types[one.name]
        if _is_config(kind):
            continue
        default = _default(one) if instance in (None, MISSING) else getattr(instance, one.name)
        given, default = _option_type(kind, default)
        made = field() if default is MISSING else _field(default)
        argument = _argument(texts[one.name], default, _metavar(kind))
        found.append((one.name, Annotated[given, argument], made))
    return found


def _option_type(kind: Any, default: Any) -> tuple[Any, Any]:
    """The type of an option and its default, for tyro.

    tyro checks defaults by typeguard where their types are not plain classes, and importing that
    takes a quarter of a second.
    """
    origin = get_origin(kind)
    if origin is tuple:
        kind = _Words
    elif origin is Mapping:
        kind = _JsonObject
    elif origin is UnionType:
        return Union[get_args(kind)], default  # noqa: UP007
    else:
        return kind, default
    return kind, default if default is MISSING else kind(default)


def _field(default: Any) -> Any:
    return field(default_factory=lambda: default)


def _argument(text: str, default: Any, metavar: str | None = None) -> Any:
    r"""Help of an option; a default of nothing is not shown, line breaks of one are ``\\n``."""
    if default is None or default == {} or default == ():
        return tyro.conf.arg(help=text, metavar=metavar, help_behavior_hint="")
    if isinstance(default, str):
        hint = f"(default: {default if default.isprintable() else repr(default)})"
        return tyro.conf.arg(help=text, metavar=metavar, help_behavior_hint=hint)
    return tyro.conf.arg(help=text, metavar=metavar)


def _metavar(kind: Any) -> str | None:
    """Values of an optional type: ``INT`` for ``int | None``; ``None`` for tyro's own choice."""
    if get_origin(kind) is not UnionType:
        return None
    words = []
    for each in get_args(kind):
        if get_origin(each) is Literal:
            words.append(f"{{{','.join(map(str, get_args(each)))}}}")
        elif each is not type(None):
            words.append(each.__name__.upper())
    return "|".join(words)


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _checked(config: type[Config], values: Mapping[str, Any]) -> Config:
    """The config of parsed values, which checks them."""
    types = get_type_hints(config)
    made: dict[str, Any] = {}
    for one in fields(config):  # pyright: ignore[reportArgumentType] - it is a dataclass
        kind, value = types[one.name], values[one.name]
        if _is_config(kind):
            value = _checked(kind, {**values, **vars(value)})
        elif isinstance(value, _Words):
            value = tuple(value)
        elif isinstance(value, _JsonObject):
            value = dict(value)
        made[one.name] = value
    return config(**made)


def _summary(config: type) -> str:
    """The docstring of a config up to its arguments."""
    return _text(inspect.cleandoc(config.__doc__ or "").partition("\n\nArgs:")[0])


def _help_texts(config: type) -> dict[str, str]:
    """Help of each field: its line in the ``Args`` of the docstring, or in that of a base class."""
    found: dict[str, str] = {}
    for base in reversed(config.__mro__[:-1]):
        block = inspect.cleandoc(base.__doc__ or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
        for name, text in re.findall(r"^ {4}(\w+): ((?:.|\n {8})*)", block, re.MULTILINE):
            found[name] = _text(text)
    return found


def _text(docstring: str) -> str:
    """Text of a docstring for the terminal: without line breaks and double backticks."""
    return re.sub(r"\s*\n\s*", " ", docstring).replace("``", "`").strip()


def _config_path(argv: Sequence[str]) -> str | None:
    """The file that ``--config`` names, the last of several."""
    path = None
    for k, word in enumerate(argv):
        if word == "--config" and k + 1 < len(argv):
            path = argv[k + 1]
        elif word.startswith("--config="):
            path = word.partition("=")[2]
    return path


def _arguments(path: str, options: Mapping[str, Field[Any]]) -> list[str]:
    """The options of a YAML file as arguments of a command line.

    Raises:
        ValueError: the file is not a YAML mapping, or has a key that is not an option.
        OSError: it cannot be read.
    """
    import yaml  # here, so that command lines without --config are parsed without it

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"--config {path} is not YAML: {reason}") from error
    if content is None:
        return []
    if not isinstance(content, dict):
        raise ValueError(
            f"--config {path} holds {content!r:.80}; write a line `option: value` each"
        )
    made: list[str] = []
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in options:
            known = ", ".join(sorted(options))
            raise ValueError(f"--config {path} has the key {key!r}; known keys are {known}")
        made += _as_arguments("--" + name.replace("_", "-"), value)
    return made


def _as_arguments(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option if value else option.replace("--", "--no-", 1)]
    if isinstance(value, list):
        return [option, *map(str, value)]
    return [f"{option}={json.dumps(value) if isinstance(value, dict) else value}"]


def _registry() -> ConstructorRegistry:
    """Options that are not of a plain type: JSON objects, and shards as ``I/N``."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def _(info: Any) -> PrimitiveConstructorSpec[Any] | None:
        if info.type is Shard:
            return PrimitiveConstructorSpec(
                nargs=1,
                metavar="I/N",
                instance_from_str=lambda words: Shard.parse(words[0]),
                is_instance=lambda x: isinstance(x, Shard),
                str_from_instance=lambda shard: [str(shard)],
            )
        if info.type is _Words:
            return PrimitiveConstructorSpec(
                nargs="*",
                metavar="STR [STR ...]",
                instance_from_str=_Words,
                is_instance=lambda x: isinstance(x, _Words),
                str_from_instance=list,
            )
        if info.type is _JsonObject:
            return PrimitiveConstructorSpec(
                nargs=1,
                metavar="JSON",
                instance_from_str=lambda words: _from_json(words[0]),
                is_instance=lambda x: isinstance(x, _JsonObject),
                str_from_instance=lambda x: [json.dumps(x)],
            )
        return None

    return registry


def _from_json(text: str) -> Any:
    """The JSON value of an option; the config refuses one that is not an object."""
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError(f"got {text!r}; need a JSON object, such as '{{\"top_k\": 20}}'") from None
