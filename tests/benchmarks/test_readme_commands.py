import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "docs/results.md",
    "kernels/README.md",
    "benchmarks/papers/README.md",
    "benchmarks/speed/README.md",
    "reason_decode/tiny/weights/README.md",
)


def commands(page: str) -> list[tuple[str, list[str]]]:
    """Modules of the ``python -m`` commands of a page, each with its options."""
    prose, blocks = page.split("```")[::2], page.split("```")[1::2]
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    # A command in a sentence may go over several lines.
    lines += [span.replace("\n", " ") for text in prose for span in re.findall(r"`[^`]+`", text)]
    found = re.findall(r"python -m ((?:benchmarks|examples)\.[\w.]+)([^`\n]*)", "\n".join(lines))
    return [(module, re.findall(r"--[a-z][a-z0-9-]*", options)) for module, options in found]


def sources(module: str) -> str:
    """The code of a module and of the modules beside it that it imports."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    text = path.read_text()
    package = re.escape(module.rpartition(".")[0])
    names = re.findall(rf"^from {package}\.(\w+) import", text, flags=re.MULTILINE)
    return text + "".join((path.parent / f"{name}.py").read_text() for name in names)


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_the_pages_have_their_modules_and_options(page: str) -> None:
    found = commands((ROOT / page).read_text())
    assert found
    for module, options in found:
        text = sources(module)
        for option in options:
            field = option[2:].replace("-", "_")
            known = f'"{option}"' in text or re.search(rf"^    {field}: ", text, re.MULTILINE)
            assert known, f"{module} has no option {option}"
