"""Sums and means over a clip's own frames, and global pooling: ordinary tensors come out, in float32 or better."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed.clips import FRAME_DIM, PackedClips, RaggedLength, to_frames
from slowfast_atfr.packed.convert import each_alone, over_frames, to_dense
from slowfast_atfr.packed.copies import place, pool, take
from slowfast_atfr.packed.dispatch import handles, refusal
from slowfast_atfr.packed.slots import triple
from slowfast_atfr.packed.spaced import frames_in_place

Dims = int | Sequence[int] | None
DType = torch.dtype | None


@handles(torch.mean, Tensor.mean)
def mean(input: PackedClips, dim: Dims = None, keepdim: bool = False, *, dtype: DType = None) -> Tensor | PackedClips:
    if dim is None:
        remedy = "x.mean((2, 3, 4)).mean() weighs clips equally, x.sum() / count weighs frames equally"
        raise refusal("mean", "over everything is ambiguous for clips of different lengths", remedy)
    return _reduce("mean", input, dim, keepdim, dtype)


@handles(torch.sum, Tensor.sum)
def sum_(input: PackedClips, dim: Dims = None, keepdim: bool = False, *, dtype: DType = None) -> Tensor | PackedClips:
    if dim is None:
        return input.joined.sum(dtype=dtype)
    return _reduce("sum", input, dim, keepdim, dtype)


def _reduce(op: str, x: PackedClips, dim: int | Sequence[int], keepdim: bool, dtype: DType) -> Tensor | PackedClips:
    """Mean or sum over some of (C, T, H, W).

    Returns:
        If T is among the dimensions: an ordinary tensor, one entry per clip over its own frames, in `dtype` or float32,
        float64 if x is. Else packed clips, and the dimensions must be kept.
    """
    dims, inner = _dims(op, dim, keepdim)
    if 2 not in dims:
        return x.with_frames(getattr(to_frames(x)[0], op)(inner, keepdim=True, dtype=dtype))
    dtype = dtype or (torch.float64 if x.dtype == torch.float64 else torch.float32)
    if x.gap:  # frames are first made small, then the clips are taken out
        frames, where = frames_in_place(x)
        small = getattr(frames, op)(inner, keepdim=True, dtype=dtype) if inner else frames.to(dtype)
        return _dense(pool(take(small, where), x.layout, (), op, dtype), dims, keepdim)
    return _dense(pool(to_frames(x)[0], x.layout, inner, op, dtype), dims, keepdim)


def _dense(per_clip: Tensor, dims: set[int], keepdim: bool) -> Tensor:
    """(N, H, W, C) as (N, C, 1, H, W), or without the dimensions that are reduced."""
    result = per_clip.unsqueeze(1).permute(0, 4, 1, 2, 3)
    return result if keepdim else result.squeeze(tuple(dims))


@handles(torch.amax, Tensor.amax)
def amax(input: PackedClips, dim: int | Sequence[int] = (), keepdim: bool = False) -> Tensor | PackedClips:
    """Like mean and sum, but of x's type, since nothing is added up."""
    dims, inner = _dims("amax", dim, keepdim)
    frames, _ = to_frames(input)
    per_frame = frames.amax(inner, keepdim=True) if inner else frames
    if 2 not in dims:
        return input.with_frames(per_frame)
    least = float("-inf") if input.dtype.is_floating_point else torch.iinfo(input.dtype).min
    stacked = place(per_frame, input.layout.stacked(), least).unflatten(0, (len(input), -1))
    return _dense(stacked.amax(1), dims, keepdim)


def _dims(op: str, dim: int | Sequence[int], keepdim: bool) -> tuple[set[int], list[int]]:
    """The dimensions of (N, C, T, H, W) to reduce, and where those within a frame stand in (S, H, W, C)."""
    dims = {d % 5 if -5 <= d < 5 else d for d in ([dim] if isinstance(dim, int) else dim)}
    if not dims or not dims <= {1, 2, 3, 4}:
        raise refusal(op, f"over dimensions {dim} mixes clips, or they do not exist", "Reduce over some of 1, 2, 3, 4")
    if 2 not in dims and not keepdim:
        remedy = "Keep the dimensions, keepdim=True, or reduce over T as well"
        raise refusal(op, f"over dimensions {dim} leaves clips of different lengths", remedy)
    return dims, [FRAME_DIM[d] for d in dims - {2}]


@handles(F.adaptive_avg_pool3d)
def adaptive_avg_pool3d(input: PackedClips, output_size: int | Sequence[int | None]) -> Tensor | PackedClips:
    """To one frame: the mean over the clip, an ordinary (N, C, 1, H', W'); to None frames: each frame on its own."""
    frames, *space = _pooled_size(input, output_size)
    if (frames, *space) == (1, 1, 1):
        return mean(input, (2, 3, 4), keepdim=True)
    if frames == 1:
        return F.adaptive_avg_pool3d(mean(input, 2, keepdim=True), (1, *space))
    if (frames, *space) == (None, 1, 1):
        return mean(input, (3, 4), keepdim=True)
    if frames is None:
        return over_frames(lambda frames: F.adaptive_avg_pool2d(frames, space), input)
    return each_alone(F.adaptive_avg_pool3d, input, (frames, *space))


@handles(F.adaptive_max_pool3d)
def adaptive_max_pool3d(
    input: PackedClips, output_size: int | Sequence[int | None], return_indices: bool = False
) -> Tensor | PackedClips:
    """Like adaptive_avg_pool3d."""
    size = _pooled_size(input, output_size)
    if size[0] is None:
        return over_frames(lambda frames: F.adaptive_max_pool2d(frames, size[1:]), input)
    pooled = each_alone(F.adaptive_max_pool3d, input, size)
    return to_dense(pooled) if size[0] == 1 else pooled


def _pooled_size(x: PackedClips, size: int | Sequence[int | None]) -> tuple[int | None, ...]:
    """A pool to x.size(2) frames keeps them."""
    frames, *space = triple(size)
    if not isinstance(frames, RaggedLength):
        return frames, *space
    if frames.lengths != x.lengths:
        raise refusal("an adaptive pool", f"to {frames.lengths} frames is not defined for clips of {x.lengths}")
    return None, *space
