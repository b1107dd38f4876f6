"""A package that imports its public names on first use: every name is there, and none is hidden."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAZY = ["reason_decode", "reason_decode.mining", "reason_decode.training"]


@pytest.mark.parametrize("package", LAZY)
def test_every_public_name_resolves_and_is_listed(package):
    module = import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing


@pytest.mark.parametrize("package", LAZY)
def test_no_module_hides_a_public_name(package):
    """`mining.calibrate` was the function or its module, whichever had been imported last."""
    folder = Path(str(import_module(package).__file__)).parent
    modules = {path.stem for path in folder.iterdir()} - {"__init__"}
    assert modules & set(import_module(package).__all__) == set()


@pytest.mark.parametrize(
    "module",
    [
        "reason_decode.mining.config",
        "reason_decode.training.config",
        "reason_decode.training.adapter_config",
        "reason_decode.training.label_config",
    ],
)
def test_configs_are_imported_without_torch(module):
    code = f"import sys, {module}; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": f"{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr
