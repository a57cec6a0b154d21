"""The remaining functions: norms, interpolation, dropout, padding, concatenation, transposed convolution, lp pooling.

Functions of each clip by itself that look across its frames run once per distinct length.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed.buffer_layout import triple
from slowfast_atfr.packed.clips import PackedClips, from_frames, to_frames
from slowfast_atfr.packed.convert import apply_framewise, each_alone, per_length
from slowfast_atfr.packed.dispatch import SIZED, handles, refusal
from slowfast_atfr.packed.elementwise import UNEQUAL, all_lengths
from slowfast_atfr.packed.frames import join
from slowfast_atfr.packed.index import frame_dim
from slowfast_atfr.packed.ragged import is_ragged, layout_of

for _function in (F.batch_norm, torch.batch_norm, F.prelu, F.channel_shuffle):
    handles(_function)(partial(apply_framewise, _function))


for _function in (F.group_norm, torch.group_norm, F.conv_transpose3d, F.local_response_norm):
    handles(_function)(partial(each_alone, _function))


@handles(F.interpolate)
def interpolate(input: PackedClips, size: Any = None, *args: Any, **kwargs: Any) -> PackedClips:
    """To a size whose T may be one number per clip, such as that of a skip connection."""
    if not is_ragged(size):
        return each_alone(F.interpolate, input, size, *args, **kwargs)
    frames, *space = triple(size)
    lengths = layout_of(frames, "interpolate").lengths
    template = from_frames(input.joined.new_empty(sum(lengths), 1, 1, 1), lengths)
    return per_length(input, lambda x, other: F.interpolate(x, (other.shape[2], *space), *args, **kwargs), template)


@handles(F.instance_norm)
def instance_norm(
    input: PackedClips,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> PackedClips:
    """As a batch or group norm: torch's own has a wrong gradient for one clip in channels last (2.13, CPU)."""
    if use_input_stats and running_mean is not None:
        remedy = "Build it with track_running_stats=False, or use batch norm"
        raise refusal("instance_norm", "would update its running statistics once per distinct length", remedy)
    if not use_input_stats:
        return apply_framewise(F.batch_norm, input, running_mean, running_var, weight, bias, False, momentum, eps)
    return each_alone(F.group_norm, input, input.shape[1], weight, bias, eps)


@handles(F.glu)
def glu(input: PackedClips, dim: int = -1) -> PackedClips:
    return input.with_frames(F.glu(to_frames(input)[0], frame_dim("glu", dim)))


@handles(F.dropout3d, F.dropout2d)
def dropout3d(input: PackedClips, p: float = 0.5, training: bool = True, inplace: bool = False) -> PackedClips:
    """Drop whole channels: one mask per clip, for all its frames."""
    mask = F.dropout(input.joined.new_ones(len(input), input.shape[1], 1, 1, 1), p, training)
    return input.mul_(mask) if inplace else input * mask


@handles(F.pad)
def pad(input: PackedClips, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> PackedClips:
    by_dim = [*pad, *(0,) * (10 - len(pad))]  # W, H, T, C, N, two entries each
    if any(by_dim[8:]):
        raise refusal("pad", f"by {tuple(pad)} would add clips", "Pad channels, time and space only")
    if any(by_dim[4:6]):
        return each_alone(F.pad, input, pad, mode, value)
    return apply_framewise(F.pad, input, pad, mode, value)


@handles(torch.hstack)
def hstack(tensors: Sequence[PackedClips]) -> PackedClips:
    return torch.cat(tensors, 1)


@handles(F.cosine_similarity)
def cosine_similarity(x1: PackedClips, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    lengths = (torch.linalg.vector_norm(x, 2, dim).clamp_min(eps) for x in (x1, x2))
    return (x1 * x2).sum(dim) / math.prod(lengths)


@handles(F.lp_pool3d)
def lp_pool3d(
    input: PackedClips, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False
) -> PackedClips:
    """As in torch: an average pool of powers."""
    means = F.avg_pool3d(input.pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return (means.sign() * means.abs().relu() * math.prod(triple(kernel_size))).pow(1.0 / norm_type)


@handles(torch.cat, torch.concat, torch.concatenate)
def cat(tensors: Sequence[PackedClips], dim: int = 0) -> PackedClips:
    """Along channels, rows or columns, where the lengths must be equal, or along time."""
    if not all(isinstance(other, PackedClips) for other in tensors):
        remedy = "pack_dense(x) packs a tensor; for a skip that begins before SGS, put SGS before it branches off"
        raise refusal("cat", "got packed and dense clips together", remedy)
    x = tensors[0]
    if dim in (2, -3):
        return join(tensors)
    if any(other.lengths != x.lengths for other in tensors):
        raise refusal("cat", f"got clips of {all_lengths(tensors)} frames", UNEQUAL)
    return x.with_frames(torch.cat([to_frames(other)[0] for other in tensors], frame_dim("cat", dim)))


@handles(Tensor.contiguous)
def contiguous(input: PackedClips, memory_format: torch.memory_format = torch.contiguous_format) -> PackedClips:
    """x itself: packed clips have one layout."""
    return input


@handles(Tensor.is_contiguous)
def is_contiguous(input: PackedClips, memory_format: torch.memory_format = torch.contiguous_format) -> bool:
    """True: `view` needs no copy."""
    return True


def _new(function: Callable, input: PackedClips, *size: Any, **kwargs: Any) -> Tensor:
    """A tensor of x's type and device; packed clips for a size with T."""
    if is_ragged(size) or any(map(is_ragged, (*size, *kwargs.values()))):
        return SIZED[function](function, input.joined, *size, **kwargs)
    return function(input.joined, *size, **kwargs)


for _function in (Tensor.new_empty, Tensor.new_zeros, Tensor.new_ones, Tensor.new_full, Tensor.new_tensor):
    handles(_function)(partial(_new, _function))


@handles(Tensor.type)
def type_(input: PackedClips, dtype: Any = None, non_blocking: bool = False) -> str | PackedClips:
    return input.joined.type() if dtype is None else input.with_joined(input.joined.type(dtype, non_blocking))


def _of_rows(function: Callable, input: PackedClips) -> Any:
    return function(input.joined)


for _function in (Tensor.is_complex, torch.is_complex, Tensor.get_device, Tensor.element_size):
    handles(_function)(partial(_of_rows, _function))


@handles(Tensor.numel, torch.numel, Tensor.nelement)
def numel(input: PackedClips) -> int:
    """Values of all clips together."""
    return input.joined.numel()


@handles(torch.is_floating_point, Tensor.is_floating_point)
def is_floating_point(input: PackedClips) -> bool:
    return input.joined.is_floating_point()
