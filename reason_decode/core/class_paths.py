"""Classes by the path under which another process imports them."""

import importlib
import sys
from typing import Any

__all__ = ["import_class", "import_path"]


def import_path(kind: type) -> str:
    """``module:Class``, by which another process can import a class.

    The shortest package that exports the class is named, such as ``reason_decode:BestOfN``, so that
    the path stays valid when private modules move.

    Raises:
        ValueError: the class cannot be imported: it was defined in a notebook, a script or a
            function, or its module has another class of that name.
    """
    module, name = kind.__module__, kind.__qualname__
    parts = module.split(".")
    for package in (".".join(parts[: k + 1]) for k in range(len(parts))):
        imported = sys.modules.get(package)
        # A script and a notebook are the module __main__, which has no spec to import it by.
        if imported is not None and imported.__spec__ is not None:
            if getattr(imported, name, None) is kind:
                return f"{package}:{name}"
    raise ValueError(
        f"got a {name} of {module}, which could not be imported when the folder is loaded; put the "
        "class at the top level of a module that is installed or on the Python path, and import it "
        "from there. Or pass the strategy itself to custom_generate"
    )


def import_class(path: str, base: type) -> Any:
    """The class of ``module:Class``.

    Args:
        path: as ``import_path`` returns it.
        base: the class that it must be a subclass of.

    Raises:
        ValueError: it cannot be imported here, or is another class.
    """
    module, _, name = path.partition(":")
    mend = "install or upgrade the package that has it"
    if module.partition(".")[0] == "reason_decode":
        mend = "upgrade: pip install --upgrade reason-decode"
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise ValueError(
            f"got {path!r}, whose module cannot be imported here ({error}); {mend}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"got {path!r}, which is no {base.__name__} here; {mend}")
    return found
