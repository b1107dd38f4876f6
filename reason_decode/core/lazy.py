"""Package names that are imported when they are first used (PEP 562)."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["lazy_imports"]


def lazy_imports(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package that imports its public names on first use.

    Importing the package, or one of its light modules such as ``config``, then loads neither torch
    nor transformers. No module of the package may have the name of one of its public names: once
    imported, the module would hide that name.

    Args:
        package: the package's ``__name__``.
        modules: module -> the public names that it defines.

    Examples:
        >>> getattr_, dir_ = lazy_imports("math_names", {"math": ("sqrt", "floor")})
        >>> getattr_("floor")(2.5), dir_()
        (2, ['floor', 'sqrt'])
    """
    home = {name: module for module, names in modules.items() for name in names}

    def get(name: str) -> Any:
        if name in home:
            return getattr(import_module(home[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted(home)
