"""The functions that work around faults of torch's CPU kernels give torch's results; and torch still has each fault.

A test in the second part fails once torch is fixed: then the rule that it names may go.
"""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from slowfast_atfr.packed import cpu_quirks

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
needs_amx = pytest.mark.skipif(  # which has the older instruction sets, too
    not getattr(torch.cpu, "get_capabilities", dict)().get("amx_tile", False), reason="seen on a CPU with AMX"
)


@needs_onednn
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [((3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1)), ((3, 3, 1), (2, 1, 1), (0, 0, 0), (1, 1, 1)),
     ((5, 3, 3), (1, 2, 2), (2, 1, 1), (1, 1, 1)), ((3, 3, 3), (1, 1, 1), (2, 2, 2), (2, 2, 2))],
)  # fmt: skip
def test_a_small_convolution_is_that_of_torch(monkeypatch, layout, kernel, stride, padding, dilation):
    called = []
    direct = torch.mkldnn_convolution
    monkeypatch.setattr(torch, "mkldnn_convolution", lambda *args: called.append(1) or direct(*args))
    x = torch.randn(1, 8, 9, 6, 7).contiguous(memory_format=layout)
    weight, bias = torch.randn(4, 8, *kernel), torch.randn(4)
    with torch.no_grad():
        result = cpu_quirks.fast_conv3d(x, weight, bias, stride, padding, dilation, 1)
        torch.testing.assert_close(result, F.conv3d(x, weight, bias, stride, padding, dilation), rtol=1e-4, atol=1e-4)
    assert called
    result = cpu_quirks.fast_conv3d(x, weight.requires_grad_(), bias, stride, padding, dilation, 1)
    assert result.requires_grad and len(called) == 1


@pytest.mark.parametrize("conv3d", [cpu_quirks.safe_conv3d, cpu_quirks.fast_conv3d])
@pytest.mark.parametrize("frames", [1, 2, 5, 6, 7, 8])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_long_kernels_learn_right_from_short_clips(conv3d, frames, stride):
    x, kernel = torch.randn(2, 32, frames, 3, 3), torch.randn(64, 32, 7, 1, 1)
    gradients = []
    for conv, dtype in ((conv3d, torch.float32), (F.conv3d, torch.float64)):
        weight = kernel.to(dtype).requires_grad_()
        out = conv(x.to(dtype), weight, None, (stride, 1, 1), (3, 0, 0), (1, 1, 1), 1)
        gradients.append(torch.autograd.grad(out.square().sum(), weight)[0].double())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-2)


PRELUDE = """
import torch, torch.nn.functional as F

def is_wrong(x, weight, conv, tolerance):
    grads = []
    for dtype in (weight.dtype, torch.float64):
        own = weight.to(dtype).requires_grad_()
        grads.append(torch.autograd.grad(conv(x.to(dtype), own).square().sum(), own)[0].double())
    return not (grads[0] - grads[1]).abs().max() <= tolerance * grads[1].abs().max()

torch.manual_seed(0)
"""
LONG = """
x, weight = torch.randn(2, 32, 6, 3, 3), torch.randn(64, 32, 7, 1, 1)
wrong = [is_wrong(x, weight, lambda x, w: F.conv3d(x, w, None, (2, 1, 1), (3, 0, 0)), 1e-3) for _ in range(5)]
"""
HALF = """
x, weight = torch.randn(10, 64, 2, 4, 4).bfloat16(), torch.randn(16, 64, 3, 1, 1).bfloat16()
wrong = []
for _ in range(20):
    torch.full((16, 64, 3), torch.nan, dtype=torch.bfloat16)  # memory that is freed, and used again
    wrong.append(is_wrong(x, weight, lambda x, w: F.conv3d(x, w, None, 1, (1, 0, 0)), 0.05))
"""
RESULT = """
x = torch.randn(1, 3, 1, 4, 4).to(torch.bfloat16).contiguous(memory_format=torch.channels_last_3d)
weight = torch.randn(4, 3, 3, 3, 3).bfloat16()
exact = F.conv3d(x.double(), weight.double(), padding=1)
wrong = [not (F.conv3d(x, weight, padding=1) - exact).abs().max() <= 0.05 * exact.abs().max() for _ in range(5)]
"""
STEPS = """
wrong = []
for channels in (4, 8, 12) * 5:
    x = torch.randn(60, channels, 16, 16).to(memory_format=torch.channels_last)
    wrong.append(is_wrong(x, torch.randn(8, channels, 1, 1), lambda x, w: F.conv2d(x, w, None, 2), 1e-4))
"""


@needs_onednn
@needs_amx
@pytest.mark.parametrize(
    ("rule", "code", "instructions"),
    [
        ("HALF", RESULT, "DEFAULT"),
        ("LONG_KERNEL", LONG, "DEFAULT"),
        ("HALF", HALF, "AVX512_CORE"),
        ("STEPS_FROM", STEPS, "AVX2"),
    ],
)
def test_torch_still_is_wrong(rule, code, instructions):
    """In a process of its own, which overwritten memory may end."""
    code = PRELUDE + code + "raise SystemExit(10 if any(wrong) else 0)"
    env = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert run.returncode < 0 or run.returncode == 10, f"cpu_quirks.{rule} may go, or: {run.stderr}"


@needs_onednn
def test_torch_still_keeps_small_convolutions_from_onednn():
    """`fast_conv3d` may leave the choice to torch once this fails."""

    def backend(*size):
        chosen = torch._C._select_conv_backend(
            torch.randn(*size), torch.randn(64, 64, 3, 3, 3), None, (1,) * 3, (1,) * 3, (1,) * 3, False, (0,) * 3, 1
        )
        return chosen.name

    for size in ((1, 64, 24, 6, 6), (2, 64, 24, 6, 6), (1, 64, 100, 6, 6)):
        assert backend(*size) == ("Mkldnn" if cpu_quirks.has_onednn(*size[:4]) else "Slow3d")
    assert not cpu_quirks.has_onednn(1, 64, 24, 6)


def test_torch_still_has_a_wrong_gradient_of_batch_norm():
    """`reshaped` may be x.reshape once this fails."""
    strided = torch.randn(4, 5, 6).permute(2, 0, 1)[None].as_strided((1, 6, 4, 5), (6, 1, 30, 6))

    def gradient(x):
        x = x.detach().requires_grad_()
        out = F.batch_norm(x, None, None, torch.ones(6, dtype=x.dtype), None, True)
        return torch.autograd.grad((out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum(), x)[0].double()

    exact = gradient(strided.double().contiguous())
    assert (gradient(strided) - exact).abs().max() > 0.1
    torch.testing.assert_close(
        gradient(cpu_quirks.reshaped(strided, (1, 6, 20))).view_as(exact), exact, atol=1e-5, rtol=0
    )
