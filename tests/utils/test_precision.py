"""Inside the context every switch says full precision; behind it each says what it said, whichever way it was set."""

import os
import subprocess
import sys

import pytest
import torch

from slowfast_atfr.utils.precision import allow_tf32, emulates, full_precision_matmul

# The switches are the process's, and torch 2.9 cannot leave a mixed state again: each way of setting them in its own.
CHECK = """
import torch
from slowfast_atfr.utils.precision import full_precision_matmul

def switches():
    new = [getattr(backend, "fp32_precision", None) for backend in (torch.backends.cuda.matmul, torch.backends.mkldnn)]
    try:
        return [*new, torch.get_float32_matmul_precision()]
    except RuntimeError:
        return [*new, "mixed"]

{setting}
before = switches()
with full_precision_matmul():
    inside = switches()
assert inside[0] in ("ieee", None) and inside[-1] == "highest", inside
assert switches() == before, (before, switches())
"""


@pytest.mark.parametrize(
    "setting",
    [
        "",
        "torch.set_float32_matmul_precision('medium')",
        "torch.backends.cuda.matmul.allow_tf32 = True",
        "torch.backends.cuda.matmul.fp32_precision = 'tf32'",
        "torch.backends.fp32_precision = 'tf32'",
    ],
)
def test_full_precision_inside_and_as_before_behind(repo, setting):
    done = subprocess.run([sys.executable, "-c", CHECK.format(setting=setting)], cwd=repo, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_an_error_inside_puts_it_back_too():
    before = torch.get_float32_matmul_precision()
    with pytest.raises(KeyError), full_precision_matmul():
        raise KeyError
    assert torch.get_float32_matmul_precision() == before


TF32 = """
import torch
from slowfast_atfr.utils.precision import allow_tf32, full_precision_matmul

def switches():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

before = switches()
assert before == (False, True), "torch has other defaults now: adapt the docs"
for allowed in (True, False, True):
    allow_tf32(not allowed, torch.device("cpu"))
    assert switches() == before
    allow_tf32(allowed, torch.device("cuda"))
    assert switches() == (allowed, allowed)
    with full_precision_matmul():
        assert switches() == (False, allowed)
    before = switches()
    assert before == (allowed, allowed)
"""


def test_tf32_is_for_convolutions_and_products_and_never_on_a_cpu(repo):
    done = subprocess.run([sys.executable, "-c", TF32], cwd=repo, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.needs_cuda
def test_products_are_exact_on_a_gpu_where_they_must_be():
    device, before = torch.device("cuda"), (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32)
    a = torch.randn(512, 512, device=device)
    exact = a.double() @ a.double()

    def error():
        return ((a @ a - exact).abs().max() / exact.abs().max()).item()

    try:
        allow_tf32(False, device)
        without = error()
        allow_tf32(True, device)
        with full_precision_matmul():
            assert error() == without
        if torch.cuda.get_device_capability()[0] >= 8:
            assert error() > 10 * without
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.skipif("ATEN_CPU_CAPABILITY" in os.environ, reason="torch is told what the CPU is to be taken for")
def test_a_cpu_without_avx_512_emulates_bfloat16():
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in ("DEFAULT", "AVX2") and not capability.startswith("AVX512"):
        pytest.skip(f"a CPU of another kind: {capability}")
    cpu = torch.device("cpu")
    assert emulates(torch.bfloat16, cpu) == (not capability.startswith("AVX512"))
    assert emulates(torch.float16, cpu) >= emulates(torch.bfloat16, cpu)
    assert not emulates(torch.float32, cpu)


@pytest.mark.parametrize("capability, emulated", [((7, 5), True), ((8, 0), False)])
def test_gpus_before_ampere_emulate_bfloat16(monkeypatch, capability, emulated):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    assert emulates(torch.bfloat16, torch.device("cuda")) == emulated
    assert not emulates(torch.float16, torch.device("cuda"))
