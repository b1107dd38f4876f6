"""Every public name shows how it is used, and what it shows is true."""

import doctest
from typing import Any

import pytest
import torch

import reason_decode
from reason_decode import kernels, mining

NAMES: dict[str, Any] = {
    name: getattr(module, name)
    for module in (reason_decode, kernels, mining)
    for name in module.__all__
    if name != "__version__"
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_has_an_example_that_runs(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = doctest.DocTestFinder(recurse=False).find(NAMES[name], name, globs={})
    assert example.examples, f"{name} has no example"
    torch.manual_seed(0)
    failed = doctest.DocTestRunner(verbose=False).run(example).failed
    assert not failed, capsys.readouterr().out
