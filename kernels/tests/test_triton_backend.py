"""Triton's compiled programs for GPUs, inspected without a GPU or its driver."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

KERNELS = Path(__file__).resolve().parents[1] / "torch-ext"

# Run in a process of its own, since the other tests interpret Triton's programs. It goes through
# the real launch except for its last step, with a driver that only names a GPU.
COMPILE = """
import json, re, subprocess, sys, tempfile
from pathlib import Path
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver, jit

class NamesTheGpu:
    capability = (9, 0)
    def get_current_target(self):
        return GPUTarget("cuda", 10 * self.capability[0] + self.capability[1], 32)
    def get_current_device(self):
        return 0
    def get_current_stream(self, device=None):
        return 0

gpu = NamesTheGpu()
driver.set_active(gpu)
torch.cuda.get_device_capability = lambda device=None: gpu.capability
run, built = jit.JITFunction.run, []
def compile_only(self, *args, warmup, **settings):
    built.append(run(self, *args, warmup=True, **settings))
jit.JITFunction.run = compile_only

from reason_decode_kernels import triton_backend

def look(name):
    kernel = built.pop()
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        usage, sass = (
            subprocess.run([tool, what, file.name], capture_output=True, text=True).stdout
            for what in ("-res-usage", "-sass")
        )
    registers, stack = map(int, re.search(r"REG:(\\d+) STACK:(\\d+)", usage).groups())
    print(json.dumps([name, {
        "registers": registers, "stack": stack, "shared": kernel.metadata.shared,
        "wgmma": sorted(set(re.findall(r"wgmma\\.mma_async.*?(m64n\\d+k\\d+)", kernel.asm["ptx"]))),
        "descriptors": sass.count("UTMALDG"), "copies": sass.count("LDGSTS"),
        "spills": len(re.findall(r"\\b(?:LDL|STL)\\b", sass)),
        "atomics": len(re.findall(r"\\b(?:ATOM|RED)[.G]", sass)),
    }]))

def linear(name, tokens, width, dtype, capability=(9, 0), contexts=1, vocabulary=1000, **settings):
    gpu.capability = capability
    hidden = [torch.zeros(tokens, width, dtype=dtype)] * contexts
    settings = {"bias": None, "softcap": None, "ignore_index": -100, "temperature": 1.0, **settings}
    weight, targets = torch.zeros(vocabulary, width, dtype=dtype), torch.zeros(tokens).long()
    triton_backend.linear_forward(hidden, weight, targets, **settings)
    look(name)

linear("one context", 300, 256, torch.bfloat16)
linear("two contexts", 300, 256, torch.bfloat16, contexts=2)
linear("capped", 300, 256, torch.bfloat16, softcap=30.0, bias=torch.zeros(1000).bfloat16())
linear("one token", 1, 256, torch.bfloat16)
linear("odd width", 300, 100, torch.float16)
linear("float32", 300, 256, torch.float32)
linear("A100", 300, 256, torch.bfloat16, capability=(8, 0))
linear("RTX 4090", 300, 256, torch.bfloat16, capability=(8, 9))
linear("RTX 4090, float32", 300, 256, torch.float32, capability=(8, 9))
linear("Turing", 300, 256, torch.float16, capability=(7, 5))
linear("B200", 300, 256, torch.bfloat16, capability=(10, 0))
linear("one column, one row", 1, 1, torch.float32, vocabulary=1)
gpu.capability = (9, 0)
triton_backend.logits_forward(torch.zeros(9, 32000).bfloat16(), torch.zeros(9).long(), -100, 1.0)
look("logits")
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    pytest.importorskip("triton", reason="Triton is not installed")
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", COMPILE],
        cwd=KERNELS,
        # An empty cache, so that the programs are compiled.
        env={"PATH": "/usr/bin:/bin", "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return dict(json.loads(line) for line in result.stdout.splitlines())


def test_hopper_uses_wgmma_and_descriptors_without_spills(compiled):
    for name in ("one context", "two contexts", "one token"):
        seen = compiled[name]
        assert seen["wgmma"] == ["m64n256k16"], name
        assert seen["descriptors"] and not seen["copies"], name
        assert seen["registers"] <= 255 and not seen["stack"] and not seen["spills"], name
        assert seen["shared"] <= 160 * 1024, name
    # Softcap and bias need a few more registers than there are, outside the inner loop.
    assert compiled["capped"]["stack"] <= 64


def test_pointers_are_used_where_descriptors_are_not_possible(compiled):
    seen = compiled["odd width"]
    assert seen["wgmma"] == ["m64n128k16"] and not seen["descriptors"]
    for name in ("odd width", "float32", "A100", "RTX 4090", "RTX 4090, float32"):
        assert not compiled[name]["stack"] and not compiled[name]["spills"], name


def test_programs_fit_the_shared_memory_of_every_gpu(compiled):
    kibibytes = {"A100": 163, "RTX 4090": 99, "RTX 4090, float32": 99, "Turing": 64, "B200": 227}
    for name, most in kibibytes.items():
        assert compiled[name]["shared"] <= most * 1024, name


def test_programs_have_no_atomics(compiled):
    assert not any(seen["atomics"] for seen in compiled.values())


def test_the_logits_program_does_not_spill(compiled):
    assert not compiled["logits"]["stack"] and compiled["logits"]["registers"] <= 128
