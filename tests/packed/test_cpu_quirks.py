"""What is done about torch's CPU kernels gives torch's results; and torch still needs it."""

import time

import pytest
import torch
import torch.nn.functional as F

from slowfast_atfr.packed import cpu_quirks

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


@needs_onednn
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [((3, 3, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1)), ((3, 1, 1), (2, 1, 1), (0, 0, 0), (1, 1, 1)),
     ((5, 3, 3), (1, 2, 2), (2, 1, 1), (1, 1, 1)), ((3, 3, 3), (1, 1, 1), (2, 2, 2), (2, 2, 2))],
)  # fmt: skip
def test_a_small_convolution_is_that_of_torch(monkeypatch, layout, kernel, stride, padding, dilation):
    called = []
    direct = torch.mkldnn_convolution
    monkeypatch.setattr(torch, "mkldnn_convolution", lambda *args: called.append(1) or direct(*args))
    x = torch.randn(1, 8, 9, 6, 7).contiguous(memory_format=layout)
    weight, bias = torch.randn(4, 8, *kernel), torch.randn(4)
    with torch.no_grad():
        result = cpu_quirks.conv3d(x, weight, bias, stride, padding, dilation, 1)
        torch.testing.assert_close(result, F.conv3d(x, weight, bias, stride, padding, dilation), rtol=1e-4, atol=1e-4)
    assert called
    result = cpu_quirks.conv3d(x, weight.requires_grad_(), bias, stride, padding, dilation, 1)
    assert result.requires_grad and len(called) == 1


@needs_onednn
@pytest.mark.slow
def test_torch_still_takes_the_slow_kernel():
    """Fails on the day it does not: then conv3d of cpu_quirks may go."""
    x, weight = torch.randn(1, 64, 24, 6, 6), torch.randn(64, 64, 3, 3, 3)
    arguments = (x, weight, None, (1, 1, 1), (1, 1, 1), (1, 1, 1), 1)

    def seconds(fn):
        times = []
        for _ in range(20):
            start = time.perf_counter()
            fn(*arguments)
            times.append(time.perf_counter() - start)
        return min(times)

    with torch.no_grad():
        assert seconds(F.conv3d) > 1.3 * seconds(cpu_quirks.conv3d)
