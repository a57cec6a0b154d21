"""Sums, means and extremes over each clip's frames, and global pooling: they return ordinary tensors of x's type.

Sums are in float32 or better, as in torch.
"""

import math
from collections import namedtuple
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed.buffer_layout import triple
from slowfast_atfr.packed.clips import FRAME_DIM, PackedClips, to_frames
from slowfast_atfr.packed.convert import each_alone, over_frames, to_dense
from slowfast_atfr.packed.dispatch import call, handles, refusal
from slowfast_atfr.packed.gather_scatter import exact_type, pool, scatter_clips
from slowfast_atfr.packed.ragged import RaggedLength
from slowfast_atfr.packed.views import View, squeeze

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
        If T is among the dimensions: an ordinary tensor, one entry per clip over its own frames, of `dtype` or x's.
        Else packed clips, or a View of them where the dimensions are not kept.
    """
    dims, inner = _dims(op, dim)
    if 2 not in dims:
        return _packed(x, getattr(to_frames(x)[0], op)(inner, keepdim=True, dtype=dtype), dims, keepdim)
    dtype = dtype or sum_type(op, x.dtype)
    exact = exact_type(torch.promote_types(x.dtype, dtype))
    return _dense(pool(to_frames(x)[0], x.layout, inner, op, exact).to(dtype), dims, keepdim)


def sum_type(op: str, dtype: torch.dtype) -> torch.dtype:
    """The type of torch's sum of values of this type."""
    whole = not dtype.is_floating_point
    if whole and op == "mean":
        raise TypeError(f"mean of packed clips takes floating point, got {dtype}: x.float() first")
    return torch.int64 if whole else dtype


def _dense(per_clip: Tensor, dims: set[int], keepdim: bool) -> Tensor:
    """(N, H, W, C) as (N, C, 1, H, W), or without the dimensions that are reduced."""
    result = per_clip.unsqueeze(1).permute(0, 4, 1, 2, 3)
    return result if keepdim else result.squeeze(tuple(dims))


def _packed(x: PackedClips, frames: Tensor, dims: set[int], keepdim: bool) -> Any:
    """Packed clips of frames with reduced dimensions, which are kept or dropped."""
    reduced = x.with_frames(frames)
    return reduced if keepdim else squeeze(View.of(reduced), sorted(dims))


def _extreme(largest: bool, input: PackedClips, dim: int | Sequence[int] = (), keepdim: bool = False) -> Any:
    """amax and amin."""
    op = "amax" if largest else "amin"
    dims, inner = _dims(op, dim)
    frames, _ = to_frames(input)
    per_frame = getattr(frames, op)(inner, keepdim=True) if inner else frames
    if 2 not in dims:
        return _packed(input, per_frame, dims, keepdim)
    return _dense(getattr(_stacked(input, per_frame, largest), op)(1), dims, keepdim)


def _stacked(x: PackedClips, frames: Tensor, largest: bool) -> Tensor:
    """(N, longest, ...) frames of x's clips; shorter ones are filled with a value that is never the extreme."""
    if x.dtype.is_floating_point:
        least, most = -math.inf, math.inf
    else:
        least, most = torch.iinfo(x.dtype).min, torch.iinfo(x.dtype).max
    return scatter_clips(frames, x.layout.stacked(), least if largest else most).unflatten(0, (len(x), -1))


amax = partial(_extreme, True)
handles(torch.amax, Tensor.amax)(amax)
handles(torch.amin, Tensor.amin)(partial(_extreme, False))


def _extreme_and_index(name: str, input: PackedClips, dim: Any = None, keepdim: bool = False) -> Any:
    """max and min: over everything, of two operands, or over one dimension, with indices that count within the clip."""
    if isinstance(dim, PackedClips | Tensor):
        return call(getattr(torch, f"{name}imum"), input, dim)
    if dim is None:
        return getattr(input.joined, name)()
    dims, inner = _dims(name, dim)
    if len(dims) > 1:  # several axes in one dimension of a View
        return PAIRS[name](_extreme(name == "max", input, dim, keepdim), None)
    if 2 in dims:
        pair = getattr(_stacked(input, to_frames(input)[0], name == "max"), name)(1)
        return PAIRS[name](*(_dense(entry, dims, keepdim) for entry in pair))
    pair = getattr(to_frames(input)[0], name)(inner[0], keepdim=True)
    return PAIRS[name](*(_packed(input, entry, dims, keepdim) for entry in pair))


PAIRS = {name: namedtuple(name, ("values", "indices")) for name in ("max", "min")}
handles(torch.max, Tensor.max)(partial(_extreme_and_index, "max"))
handles(torch.min, Tensor.min)(partial(_extreme_and_index, "min"))


def _dims(op: str, dim: int | Sequence[int]) -> tuple[set[int], list[int]]:
    """The dimensions of (N, C, T, H, W) to reduce, and the dimensions of (S, H, W, C) for those within a frame."""
    dims = {d % 5 if -5 <= d < 5 else d for d in ([dim] if isinstance(dim, int) else dim)}
    if not dims or not dims <= {1, 2, 3, 4}:
        raise refusal(op, f"over dimensions {dim} mixes clips, or they do not exist", "Reduce over some of 1, 2, 3, 4")
    return dims, [FRAME_DIM[d] for d in dims - {2}]


@handles(F.adaptive_avg_pool3d)
def adaptive_avg_pool3d(input: PackedClips, output_size: int | Sequence[int | None]) -> Tensor | PackedClips:
    """To one frame: the mean over the clip, an ordinary (N, C, 1, H', W'); to None frames: each frame by itself."""
    frames, *space = _pooled_size(input, output_size)
    if (frames, *space) == (1, 1, 1):
        return mean(input, (2, 3, 4), keepdim=True)
    if frames == 1:
        exact = exact_type(input.dtype)
        return F.adaptive_avg_pool3d(mean(input, 2, keepdim=True, dtype=exact), (1, *space)).to(input.dtype)
    if (frames, *space) == (None, 1, 1):
        return mean(input, (3, 4), keepdim=True)
    if frames is None:
        return over_frames(lambda frames: F.adaptive_avg_pool2d(frames, space), input)
    return each_alone(F.adaptive_avg_pool3d, input, (frames, *space))


@handles(F.adaptive_max_pool3d)
def adaptive_max_pool3d(
    input: PackedClips, output_size: int | Sequence[int | None], return_indices: bool = False
) -> Tensor | PackedClips:
    """As adaptive_avg_pool3d."""
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
