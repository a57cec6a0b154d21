"""Convolutions and pools. Those that look across time never let a window of one clip reach a frame of another.

- No look across time (kernel, stride 1, padding 0 in T): the frames are the batch of the 2-D function.
- Clips of one length: torch's function on the (N, C, T, H, W) view.
- Large clips on a CPU: torch's function on one clip at a time; only the results are copied, into one tensor.
- Else: clips are copied into a buffer with gaps of zero (max pool: -inf) frames between them (`buffer_layout.py`),
  torch's function runs over the buffer, and each clip's results are copied out. Or all clips are lengthened to the
  longest and run as a dense batch, where that has no more windows than the buffer (short clips, kernels with a long
  reach), or is much faster.
Which of torch's functions runs on a CPU is decided in `cpu_quirks.py`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed import cpu_quirks
from slowfast_atfr.packed.buffer_layout import Window, triple
from slowfast_atfr.packed.clips import PackedClips, to_frames
from slowfast_atfr.packed.convert import each_alone, over_frames, pack_dense, per_length, to_dense
from slowfast_atfr.packed.dispatch import handles, refusal
from slowfast_atfr.packed.gather_scatter import exact_type, gather_clips, scatter_clips
from slowfast_atfr.packed.ragged import RaggedLength
from slowfast_atfr.packed.reduce import amax, mean

Size = int | Sequence[int]


def over_time(
    x: PackedClips,
    window: Window,
    op: Callable[[Tensor, int], Tensor],
    *,
    name: str,
    fill: float = 0.0,
    shortest_native: int = 1,
    fast_alone: bool = True,
    fast_from: int = 0,
) -> PackedClips:
    """Run a function with a temporal window on every clip as if it were alone.

    Args:
        op: (dense (n, C, T, H, W), padding in T) -> (n, C', T', H', W'), torch's function.
        name: of the op, for errors.
        fill: value of the padding and of the gaps between clips.
        shortest_native: clips shorter than this go through the buffer even if all have one length.
        fast_alone: whether op is fast on a batch of one clip.
        fast_from: frames from which op is fast on the buffer, which is a batch of one.
    Raises:
        ValueError: if a clip is too short for one window.
    """
    if window.before == window.after and min(x.lengths) >= shortest_native:
        lengths_out = window.lengths_out(x.lengths, name)
        if x.layout.is_even:
            return x.with_frames(to_frames(op(to_dense(x), window.before))[0], x.layout.of(lengths_out))
        bytes_per_clip = x.joined.numel() * x.joined.element_size() / len(x)
        if fast_alone and x.device.type == "cpu" and bytes_per_clip >= cpu_quirks.LARGE_CLIP:
            return x.with_frames(_one_after_the_other(x, window, op), x.layout.of(lengths_out))
    steps = x.layout.steps(window, name)
    longest, slowness = max(x.lengths), 1 if steps.in_buffer.total >= fast_from else cpu_quirks.SLOWNESS
    fits = steps.stacked_results.total <= slowness * steps.results.total
    if fits and window.before == window.after and longest >= shortest_native:
        stack = scatter_clips(to_frames(x)[0], x.layout.stacked(), fill).unflatten(0, (len(x), longest))
        result, _ = to_frames(op(stack.permute(0, 4, 1, 2, 3), window.before))
        return x.with_frames(gather_clips(result, steps.stacked_results), x.layout.of(steps.lengths_out))
    buffer = scatter_clips(to_frames(x)[0], steps.in_buffer, fill)
    result, _ = to_frames(op(buffer.unsqueeze(0).permute(0, 4, 1, 2, 3), 0))
    return x.with_frames(gather_clips(result, steps.results), x.layout.of(steps.lengths_out))


def _one_after_the_other(x: PackedClips, window: Window, op: Callable[[Tensor, int], Tensor]) -> Tensor:
    """(S', H', W', C') results of all clips; neighbours of one length share a call."""
    runs = [(length, len(list(run))) for length, run in groupby(x.lengths)]
    parts = to_frames(x)[0].split([length * count for length, count in runs])
    clips = [part.unflatten(0, (count, length)) for part, (length, count) in zip(parts, runs, strict=True)]
    return torch.cat([to_frames(op(clip.permute(0, 4, 1, 2, 3), window.before))[0] for clip in clips])


@handles(F.conv3d)
def conv3d(
    input: PackedClips,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> PackedClips:
    kernel, stride, dilation = tuple(weight.shape[2:]), triple(stride), triple(dilation)
    padding = padding if isinstance(padding, str) else triple(padding)
    window, space, (bottom, right) = _conv_geometry(kernel, stride, padding, dilation)
    if bottom or right:
        input = F.pad(input, (0, right, 0, bottom))
    if window.mixes_no_frames:

        def of_frames(frames: Tensor) -> Tensor:
            return cpu_quirks.conv2d_of_frames(frames, weight.squeeze(2), bias, stride[1:], space, dilation[1:], groups)

        return over_frames(of_frames, input)

    def op(dense: Tensor, pad: int) -> Tensor:
        return cpu_quirks.fast_conv3d(dense, weight, bias, stride, (pad, *space), dilation, groups)

    one_in_space = cpu_quirks.is_one_in_space(weight, stride, (0, *space))
    onednn_alone = cpu_quirks.has_onednn(1, input.shape[1], min(input.lengths), input.shape[3])
    return over_time(
        input,
        window,
        op,
        name="conv3d",
        fast_alone=groups > 1 or one_in_space or onednn_alone,
        fast_from=0 if one_in_space else cpu_quirks.onednn_from(input, weight, groups),
    )


@handles(F.max_pool3d, torch.max_pool3d)
def max_pool3d(
    input: PackedClips,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> PackedClips:
    kernel, padding, dilation = triple(kernel_size), triple(padding), triple(dilation)
    stride = _stride_of(stride, kernel)
    if return_indices:
        raise refusal("max_pool3d", "with return_indices=True has no rule for packed clips", "Pool without indices")
    in_space = (kernel[1:], stride[1:], padding[1:], dilation[1:], ceil_mode)
    if _is_whole(kernel[0], input):
        largest = pack_dense(amax(input, 2, keepdim=True), round_to=input.round_to)
        return over_frames(lambda frames: F.max_pool2d(frames, *in_space), largest)
    window = _pool_window("max_pool3d", kernel, stride, padding, dilation)
    if window.mixes_no_frames:
        return over_frames(lambda frames: F.max_pool2d(frames, *in_space), input)
    if ceil_mode:
        return each_alone(F.max_pool3d, input, kernel, stride, padding, dilation, True)

    def op(dense: Tensor, pad: int) -> Tensor:
        return F.max_pool3d(dense, kernel, stride, (pad, *padding[1:]), dilation)

    return over_time(input, window, op, name="max_pool3d", fill=float("-inf"))


@handles(F.avg_pool3d)
def avg_pool3d(
    input: PackedClips,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> PackedClips:
    """A kernel that covers a whole clip, such as a head's, averages the clip's own frames: one frame per clip.

    Longer clips in the same batch keep their windows. A clip shorter than the kernel that reaches it with padding
    gets the padded average. torch raises for either clip alone.
    """
    kernel, padding = triple(kernel_size), triple(padding)
    stride = _stride_of(stride, kernel)
    rest = (ceil_mode, count_include_pad, divisor_override)
    if input.dtype in cpu_quirks.HALF and input.device.type == "cpu":  # torch has no kernel
        return avg_pool3d(input.float(), kernel_size, stride, padding, *rest).to(input.dtype)

    def of_whole_clips(frame: Tensor) -> Tensor:
        space = (1, *kernel[1:]), (1, *stride[1:]), (0, *padding[1:])
        return F.avg_pool3d(frame, *space, *rest).to(input.dtype)

    def of_one_length(dense: Tensor) -> Tensor:
        if dense.shape[2] < kernel[0]:
            return of_whole_clips(dense.mean(2, keepdim=True, dtype=exact_type(dense.dtype)))
        return F.avg_pool3d(dense, kernel, stride, padding, *rest)

    if _is_whole(kernel[0], input):
        kernel, stride = (max(input.lengths), *kernel[1:]), (1, *stride[1:])
    window = _pool_window("avg_pool3d", kernel, stride, padding, (1, 1, 1))
    if window.mixes_no_frames:
        in_space = (kernel[1:], stride[1:], padding[1:])
        return over_frames(lambda frames: F.avg_pool2d(frames, *in_space, *rest), input)
    if padding[0] == 0 and stride[0] in (1, kernel[0]) and divisor_override is None:
        if kernel[0] >= max(input.lengths):
            means = mean(input, 2, keepdim=True, dtype=exact_type(input.dtype))
            return pack_dense(of_whole_clips(means), round_to=input.round_to)
        if kernel[0] > min(input.lengths):
            return per_length(input, of_one_length)
    if ceil_mode or (padding[0] > 0 and not count_include_pad):
        return each_alone(F.avg_pool3d, input, kernel, stride, padding, *rest)

    def op(dense: Tensor, pad: int) -> Tensor:
        return F.avg_pool3d(dense, kernel, stride, (pad, *padding[1:]), *rest)

    return over_time(input, window, op, name="avg_pool3d", shortest_native=kernel[0])


def _stride_of(stride: Size | None, kernel: tuple) -> tuple:
    """The stride as a triple: the kernel if none is given, 1 where the kernel covers whole clips."""
    stride = triple(stride) if stride or isinstance(stride, RaggedLength) else kernel
    return tuple(1 if isinstance(step, RaggedLength) else step for step in stride)


def _is_whole(kernel: int | RaggedLength, x: PackedClips) -> bool:
    """Whether the kernel is x.size(2), which covers every clip."""
    if not isinstance(kernel, RaggedLength):
        return False
    if kernel.lengths != x.lengths:
        raise refusal("a pool", f"over {kernel.lengths} frames is not defined for clips of {x.lengths}")
    return True


def _pool_window(op: str, kernel: tuple, stride: tuple, padding: tuple, dilation: tuple) -> Window:
    if 2 * padding[0] > kernel[0]:
        raise ValueError(f"{op}: padding {padding[0]} in time is more than half of the kernel's {kernel[0]} frames")
    return Window(kernel[0], stride[0], padding[0], padding[0], dilation[0])


@lru_cache(maxsize=512)  # a network has few, and needs them at every step
def _conv_geometry(
    kernel: tuple, stride: tuple, padding: tuple | str, dilation: tuple
) -> tuple[Window, tuple[int, int], tuple[int, int]]:
    """The window in time, the padding in space, and the extra padding of "same" at the end of H and W."""
    if padding == "same":
        if stride != (1, 1, 1):
            raise ValueError(f"conv3d: padding 'same' needs stride 1, got {stride}")
        reaches = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        around = [(reach // 2, reach - reach // 2) for reach in reaches]
    else:
        around = [(pad, pad) for pad in ((0, 0, 0) if padding == "valid" else padding)]
    (before, after), (top, bottom), (left, right) = around
    return Window(kernel[0], stride[0], before, after, dilation[0]), (top, left), (bottom - top, right - left)
