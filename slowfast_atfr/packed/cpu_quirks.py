"""Faults and speed limits of torch's CPU kernels and oneDNN, and the functions that work around them.

All were seen in torch 2.13.0. Each fault has a reproduction next to its rule, and tests/packed/test_cpu_quirks.py fails
once torch no longer has it. `ONEDNN_MAX_CPU_ISA` in a reproduction is an environment variable: the fault depends on the
instruction set, and a newer CPU shows it when restricted to an older one.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from slowfast_atfr.packed.clips import Clips, PackedClips
from slowfast_atfr.utils.exporting import is_exporting

# Fault: a temporal kernel's weight gradient is wrong where no window is within the clip.
#   x, w = torch.randn(2, 32, 6, 3, 3), torch.randn(64, 32, 7, 1, 1, requires_grad=True)
#   F.conv3d(x, w, None, (2, 1, 1), (3, 0, 0)).square().sum().backward()         # w.grad: up to 1e30; 5 frames: crash
# In half precision kernels of 3 frames have it, too: parts of the gradient are never written (AVX512_CORE, _BF16), and
# with AMX the result itself is wrong.
#   x, w = torch.randn(1, 3, 1, 4, 4).bfloat16(), torch.randn(4, 3, 3, 3, 3).bfloat16()
#   F.conv3d(x.to(memory_format=torch.channels_last_3d), w, padding=1)
LONG_KERNEL = 7  # frames from which float32 has it; kernels of 3 and 5 are right
HALF = (torch.bfloat16, torch.float16)

# Fault: the weight gradient of a strided 1x1 conv2d of few channels overwrites memory (ONEDNN_MAX_CPU_ISA=AVX2).
#   x = torch.randn(60, 4, 16, 16).to(memory_format=torch.channels_last)
#   F.conv2d(x, w := torch.randn(8, 4, 1, 1, requires_grad=True), None, 2).square().sum().backward()
STEPS_FROM = 16  # channels from which it is right; below 4 it is, too

# Speed: torch gives conv3d of a batch of one to oneDNN only when C x T x H is above this, or it has groups.
#   torch._C._select_conv_backend(torch.randn(1, 64, 24, 6, 6), torch.randn(64, 64, 3, 3, 3), ...)   # Slow3d
ONEDNN_FROM = 20480
SLOWNESS = 3  # how much slower the other kernel is, at least

# Speed: from timings, no faults.
FEW_CHANNELS = 16  # below which oneDNN's conv3d is slower than its conv2d
LARGE_CLIP = 2**20  # bytes from which one call per clip is faster than a copy of all clips into a buffer
WIDE_FRAME = 1024  # values of a frame from which one sum per clip is faster than torch.segment_reduce
LANES = 16  # float32 numbers in a vector of AVX-512; oneDNN gives every output channel one


def safe_conv3d(
    x: Clips, weight: Tensor, bias: Tensor | None, stride: tuple, padding: tuple, dilation: tuple, groups: int
) -> Clips:
    """F.conv3d of dense (N, C, T, H, W) or packed clips, right for short clips and, in inference, fast on a CPU."""
    if isinstance(x, Tensor) and not is_exporting():
        if x.device.type == "cpu" and x.ndim == 5 and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return fast_conv3d(x, weight, bias, stride, padding, dilation, groups)
        x, padding = _pad_short(x, weight.shape[2], stride[0], padding)
    return F.conv3d(x, weight, bias, stride, padding, dilation, groups)


def fast_conv3d(
    dense: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple, padding: tuple, dilation: tuple, groups: int
) -> Tensor:
    """`safe_conv3d` of clips, or a buffer of clips, (N, C, T, H, W), by the fastest kernel."""
    if (
        weight.shape[2] == 1
        and stride[0] == 1
        and padding[0] == 0
        and dense.is_contiguous(memory_format=torch.channels_last_3d)
    ):
        frames = dense.transpose(1, 2).flatten(0, 1)  # a view
        frames = conv2d_of_frames(frames, weight.squeeze(2), bias, stride[1:], padding[1:], dilation[1:], groups)
        return frames.unflatten(0, (dense.shape[0], dense.shape[2])).transpose(1, 2)
    dense, padding = _pad_short(dense, weight.shape[2], stride[0], padding)
    onednn = has_onednn(*dense.shape[:4])
    if is_one_in_space(weight, stride, padding):
        if dense.device.type == "cpu" and dense.shape[1] >= FEW_CHANNELS and onednn:
            return F.conv3d(dense, weight, bias, stride, padding, dilation, groups)
        rows = dense.permute(0, 2, 3, 4, 1).flatten(2, 3).permute(0, 3, 1, 2)  # (N, C, T, H*W), a view
        rows = F.conv2d(rows, weight.squeeze(4), bias, (stride[0], 1), (padding[0], 0), (dilation[0], 1), groups)
        return rows.unflatten(3, dense.shape[3:])
    if groups == 1 and not onednn and _can_choose_onednn(dense, weight):
        return torch.mkldnn_convolution(dense, weight, bias, padding, stride, dilation, groups)
    return F.conv3d(dense, weight, bias, stride, padding, dilation, groups)


def _pad_short(x: Tensor, kernel: int, stride: int, padding: tuple) -> tuple[Tensor, tuple]:
    """x and padding; where torch's result or gradient would be wrong, x with its padding in time as zero frames."""
    if x.device.type != "cpu" or x.ndim != 5:
        return x, padding
    half = x.dtype in HALF or (x.dtype != torch.float64 and torch.is_autocast_enabled("cpu"))
    if (kernel < LONG_KERNEL and not half) or not is_short(x.shape[2], kernel, stride):
        return x, padding
    return F.pad(x, (0, 0, 0, 0, padding[0], padding[0])), (0, *padding[1:])


def is_short(frames: int, kernel: int, stride: int) -> bool:
    """Whether a clip may have no window within it, at any phase of the stride."""
    return frames < kernel + stride - 1


def is_one_in_space(weight: Tensor, stride: tuple, padding: tuple) -> bool:
    """Whether a convolution mixes frames, but no pixels."""
    return weight.shape[3:] == stride[1:] == (1, 1) and padding[1:] == (0, 0)


def has_onednn(batch: int, channels: int, frames: int, height: int) -> bool:
    """Whether torch itself gives conv3d without groups to oneDNN."""
    return batch > 1 or channels * frames * height > ONEDNN_FROM


def onednn_from(x: PackedClips, weight: Tensor, groups: int) -> int:
    """Frames of a batch of one from which oneDNN takes `fast_conv3d` of x."""
    if groups > 1 or x.device.type != "cpu" or _can_choose_onednn(x.joined, weight):
        return 0
    return ONEDNN_FROM // (x.shape[1] * x.shape[3]) + 1


def _can_choose_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether to override torch's choice: in inference only, since gradients are tested with torch's own."""
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    return (
        plain
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
    )


def conv2d_of_frames(
    frames: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple, padding: tuple, dilation: tuple, groups: int
) -> Tensor:
    """F.conv2d of (S, C, H, W) frames, channels_last, with the right gradients for few channels on a CPU."""
    one_pixel = weight.shape[2:] == (1, 1) and padding == (0, 0)
    if frames.device.type == "cpu" and one_pixel and frames.shape[1] < STEPS_FROM:
        frames, stride = frames[:, :, :: stride[0], :: stride[1]], 1
    return F.conv2d(frames, weight, bias, stride, padding, dilation, groups)


def leaves_lanes_idle(out_channels: int) -> bool:
    """Whether a convolution of so few output channels uses half of a CPU's vectors or less."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512") and out_channels <= LANES // 2


def conv3d_in_pairs(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int, int]
) -> Tensor:
    """F.conv3d with stride (1, *stride), as a convolution that computes two neighbouring frames at once.

    They are the channels of a convolution with twice the channels, a kernel one frame longer, and a stride of 2.

    Args:
        x: (N, C, T, H, W), not short for that kernel and stride.
        weight: (O, C, t, h, w).
        bias: (O,).
    Returns:
        (N, O, T', H', W'), channels_last_3d.
    """
    if has_torch_function_unary(x):  # so that a MAC counter sees the convolution that is meant
        return handle_torch_function(conv3d_in_pairs, (x,), x, weight, bias, stride, padding)
    frames, channels = x.shape[2] + 2 * padding[0] - weight.shape[2] + 1, len(weight)
    x = F.pad(x, (0, 0, 0, 0, 0, frames % 2))
    both = torch.cat([F.pad(weight, (0, 0, 0, 0, 0, 1)), F.pad(weight, (0, 0, 0, 0, 1, 0))])
    pairs = F.conv3d(x, both, None if bias is None else bias.repeat(2), (2, *stride), padding)  # (N, 2 O, T'/2, H', W')
    rows = pairs.permute(0, 2, 3, 4, 1).unflatten(4, (2, channels)).permute(0, 1, 4, 2, 3, 5)
    return rows.flatten(1, 2)[:, :frames].contiguous().permute(0, 4, 1, 2, 3)


def reshaped(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """x.reshape(sizes), but a batch of one keeps a batch stride with which torch's gradients are right.

    Fault: `reshape` may give (1, C, H, W) strides (C, 1, W*C, C), with which F.batch_norm returns wrong gradients.
    """
    if tuple(x.shape) == tuple(sizes):
        return x
    return (x.contiguous() if sizes[0] == 1 else x).reshape(sizes)
