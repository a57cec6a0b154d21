"""Within the context every switch is at full precision; after it each has its previous value."""

import pytest
import torch

from slowfast_atfr.utils.precision import allow_tf32, full_precision_matmul, lacks_convolutions
from tests.processes import Program


def run(code, folder):
    (folder / "check.py").write_text(code)
    process = Program(folder / "check.py", cwd=folder)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told


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
def test_full_precision_inside_and_as_before_behind(tmp_path, setting):
    run(CHECK.format(setting=setting), tmp_path)


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


def test_tf32_is_for_convolutions_and_products_and_never_on_a_cpu(tmp_path):
    run(TF32, tmp_path)


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


@pytest.mark.parametrize("has", [True, False])
def test_a_cpu_has_the_convolutions_that_onednn_says(monkeypatch, has):
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: has)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_fp16_supported", lambda: not has)
    assert lacks_convolutions(torch.bfloat16, cpu) == (not has)
    assert lacks_convolutions(torch.float16, cpu) == has
    assert not lacks_convolutions(torch.float32, cpu)


def test_torch_has_what_it_is_asked_for_onednn():
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch without oneDNN")
    for short in ("bf16", "fp16"):
        assert isinstance(getattr(torch.ops.mkldnn, f"_is_mkldnn_{short}_supported")(), bool)


@pytest.mark.parametrize("capability, lacks", [((7, 5), True), ((8, 0), False)])
def test_gpus_before_ampere_lack_bfloat16(monkeypatch, capability, lacks):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.version, "hip", None)
    assert lacks_convolutions(torch.bfloat16, torch.device("cuda")) == lacks
    assert not lacks_convolutions(torch.float16, torch.device("cuda"))
