import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "reason_decode"
KERNELS = ROOT / "kernels" / "torch-ext"

# The rooms that each room may import besides itself: imports point downward only.
GROUND = {"core", "io"}
MODELS = {*GROUND, "generation", "kernels", "models"}
SCORING = {*MODELS, "adapters", "scorers"}
DECODING = {*SCORING, "strategies", "processors"}
USES = {*DECODING, "runs", "tasks"}
ALLOWED = {
    # viewer: only for Trace._repr_html_, with which a notebook shows a trace.
    "core": {"viewer"},
    "io": set(),
    "kernels": set(),
    "runs": GROUND,
    "models": GROUND,
    "generation": {*GROUND, "models"},
    "adapters": {*GROUND, "models", "kernels"},
    "scorers": MODELS,
    "strategies": SCORING,
    "processors": SCORING,
    "tasks": {"core", "io"},
    "evaluation": USES,
    "training": USES,
    "mining": {*SCORING, "runs"},
    "viewer": GROUND,
    # viewer: the gateway shows a trace as a page.
    "serving": {*USES, "evaluation", "viewer"},
    "tiny": SCORING,
    "testing": DECODING,
    "__main__": {"cli"},
    "cli": {*USES, "evaluation", "training", "mining", "viewer", "serving", "tiny"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, tree: ast.AST) -> Iterator[str]:
    """Absolute dotted names of all modules and names that a file imports."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            parts = [*base, *([node.module] if node.module else [])]
            yield from (".".join([*parts, alias.name]) for alias in node.names)


def rooms_imported(path: Path, source: str) -> set[str]:
    """Rooms of reason_decode that a file imports; "__init__" for names of the package itself."""
    found = set()
    for dotted in imports(path, ast.parse(source)):
        top, *rest = dotted.split(".")
        if top == "reason_decode":
            found.add(rest[0] if rest and rest[0] in ALLOWED else "__init__")
    return found - {room(path)}


# Public names that begin with an underscore: those of named tuples, and os._exit.
PUBLIC = {"_asdict", "_exit", "_field_defaults", "_fields", "_make", "_replace"}


def private_attributes(source: str) -> list[str]:
    """Uses of ``x._name`` or ``getattr(x, "_name")`` where x is neither self nor cls."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            owner, attribute = node.value, node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "setattr"):
            owner, attribute = node.args[0], str(getattr(node.args[1], "value", ""))
        else:
            continue
        private = attribute.startswith("_") and not attribute.startswith("__")
        own = getattr(owner, "id", "") in ("self", "cls")
        if private and not own and attribute not in PUBLIC:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def test_rooms_import_downward_only():
    wrong = []
    for path in FILES:
        if path == PACKAGE / "__init__.py":
            continue
        assert room(path) in ALLOWED, f"{name(path)}: give its room a line in ALLOWED (design §2)"
        for other in rooms_imported(path, path.read_text()) - ALLOWED[room(path)]:
            if not (other == "__init__" and room(path) == "cli"):
                wrong.append(f"{name(path)} imports {other}")
    assert wrong == []


def test_only_one_module_imports_the_kernels():
    users = {
        name(path)
        for path in FILES
        if any(
            dotted.startswith("reason_decode_kernels")
            for dotted in imports(path, ast.parse(path.read_text()))
        )
    }
    assert users == {"reason_decode/kernels.py"}


def test_kernels_import_torch_and_the_standard_library_only_and_two_files_triton():
    for path in KERNELS.rglob("*.py"):
        allowed = {"torch", *sys.stdlib_module_names}
        if path.stem.startswith("triton_"):
            allowed.add("triton")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                tops = {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                tops = {(node.module or "").split(".")[0]}
            else:
                continue
            assert tops <= allowed, f"{name(path)}: {tops}"


# The decoding engine calls transformers' private generation API. Two more facts have no public
# name: the attention implementation of a loaded model (transformers), and whether a CPU computes in
# bfloat16 (torch).
PRIVATE_API = {
    PACKAGE / "generation" / "engine.py",
    PACKAGE / "models" / "attention.py",
    PACKAGE / "models" / "devices.py",
}


def test_private_attributes_are_used_in_three_files_only():
    found = {
        name(path): private_attributes(path.read_text())
        for path in FILES
        if path not in PRIVATE_API
    }
    assert {path: uses for path, uses in found.items() if uses} == {}


def test_importing_the_library_loads_no_optional_package():
    # generate()'s own module imports torch.compile's, which imports Triton where there is one.
    code = (
        "import sys, transformers.generation.utils\n"
        "before = set(sys.modules)\n"
        "import reason_decode, reason_decode.kernels\n"
        "after = set(sys.modules) - before\n"
        "print(*sorted({'peft', 'triton', 'outlines', 'datasets'} & after))"
    )
    path = f"{ROOT}:{KERNELS}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_core_and_io_need_neither_torch_nor_transformers():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if room(path) in GROUND
    ]
    code = (
        f"import sys, {', '.join(modules)}\n"
        "print(reason_decode.__version__, *({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert (done.returncode, len(done.stdout.split())) == (0, 1), done.stdout + done.stderr


FOLDERS = ("reason_decode", "kernels", "tests", "benchmarks", "examples")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_no_file_is_longer_than_400_lines():
    long = {name(path) for path in SOURCES if len(path.read_text().splitlines()) > 400}
    assert long == set()


def docstrings(source: str) -> Iterator[str]:
    """The docstrings of a module, its classes and its functions."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented):
            yield ast.get_docstring(node) or ""


def test_docstrings_begin_with_what_they_describe():
    """A docstring that opens with "Whether ..." leaves the reader to guess its subject."""
    withheld = ("What ", "Whether ", "How ", "Where ")
    found = [
        f"{name(path)}: {text.splitlines()[0]}"
        for path in SOURCES
        for text in docstrings(path.read_text())
        if text.startswith(withheld)
    ]
    assert found == []


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Number of lines of a function without its docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def test_no_function_has_more_than_60_lines_of_code():
    long = {
        f"{name(path)}: {node.name}"
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and lines_of_code(node) > 60
    }
    assert long == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from ..training import losses", {"training"}),
        ("from .. import generation, kernels", {"generation", "kernels"}),
        ("import reason_decode.mining.loss_delta_filter", {"mining"}),
        ("def f():\n    from reason_decode.tiny import load", {"tiny"}),
        ("from reason_decode import Trace", {"__init__"}),
        ("from .base import Scorer\nimport torch", set()),
    ],
)
def test_rooms_imported_finds_every_form_of_import(source, expected):
    assert rooms_imported(PACKAGE / "strategies" / "step_search.py", source) == expected


def test_private_attributes_finds_private_ones_only():
    source = (
        "self._a\ncls._b\nx.__class__\nx.y\nx._c\nself.model._d\ngetattr(x, '_e')\n_f(x)._replace()"
    )
    assert private_attributes(source) == [
        "line 5: x._c",
        "line 6: self.model._d",
        "line 7: getattr(x, '_e')",
    ]
