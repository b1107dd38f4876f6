import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
KERNELS = ROOT / "kernels" / "torch-ext"
SHIPPED = {".py", ".safetensors", ".json", ".jinja", ".html", ".css", ".js"}


def python(code: str, *path: Path) -> str:
    """Output of ``python -c code``, the folders first on its path, run from the root."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": ":".join(map(str, path))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Files in a wheel, built from a copy of the sources to leave nothing in the checkout."""
    work = tmp_path_factory.mktemp("wheel")
    source = work / "source"
    for folder in ("reason_decode", "kernels"):
        shutil.copytree(
            ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "--wheel-dir", work, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = work.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def sources(folder: Path, relative_to: Path) -> set[str]:
    """Python files and package data below a folder, as the wheel should name them."""
    return {
        path.relative_to(relative_to).as_posix()
        for path in folder.rglob("*")
        if path.suffix in SHIPPED or path.name == "py.typed"
    }


def test_wheel_holds_every_source_file_of_both_packages_and_nothing_else(wheel_names):
    expected = sources(ROOT / "reason_decode", ROOT) | sources(KERNELS, KERNELS)
    held = {name for name in wheel_names if ".dist-info/" not in name}
    assert {name for name in held if not name.endswith(".md")} == expected
    assert {name.split("/")[0] for name in held} == {"reason_decode", "reason_decode_kernels"}


def test_wheel_holds_licence_and_command(wheel_names):
    metadata = {name.split(".dist-info/")[1] for name in wheel_names if ".dist-info/" in name}
    assert {"licenses/LICENSE", "entry_points.txt"} <= metadata


def test_kernels_import_without_an_install():
    found = python("import reason_decode_kernels as k; print(k.__file__)", ROOT, KERNELS)
    assert found == str(KERNELS / "reason_decode_kernels" / "__init__.py")


@pytest.fixture
def other_kernels(tmp_path: Path) -> Path:
    """A folder that holds a package called kernels, as an install of Hugging Face's would."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("def get_kernel(): ...\n")
    return tmp_path


@pytest.mark.parametrize(
    "before",
    ["", "import pytest; pytest.main(['-qq', '--collect-only', 'kernels/tests'])"],
    ids=["at once", "after pytest collected kernels/tests"],
)
def test_a_package_named_kernels_is_not_hidden_by_the_folder(before, other_kernels):
    code = f"{before}\nimport kernels; print(kernels.__file__)"
    found = python(code, ROOT, KERNELS, other_kernels).splitlines()[-1]
    assert found == str(other_kernels / "kernels" / "__init__.py")


def test_neither_the_kernels_folder_nor_a_folder_of_tests_is_a_package():
    folders = (ROOT / "tests", ROOT / "kernels" / "tests")
    inits = [path for folder in folders for path in folder.rglob("__init__.py")]
    assert inits + list(ROOT.glob("kernels/__init__.py")) == []
