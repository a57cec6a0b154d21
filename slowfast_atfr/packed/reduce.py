"""Sums and means over a clip's own frames, and global pooling: ordinary tensors come out, in float32 or better."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed.clips import FRAME_DIM, PackedClips, from_frames, to_frames
from slowfast_atfr.packed.convert import each_alone, over_frames, to_dense
from slowfast_atfr.packed.dispatch import handles, refusal
from slowfast_atfr.packed.slots import triple

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
        return input.data.sum(dtype=dtype)
    return _reduce("sum", input, dim, keepdim, dtype)


def _reduce(op: str, x: PackedClips, dim: int | Sequence[int], keepdim: bool, dtype: DType) -> Tensor | PackedClips:
    """Mean or sum over some of (C, T, H, W).

    Returns:
        If T is among the dimensions: an ordinary tensor, one entry per clip over its own frames, in `dtype` or float32,
        float64 if x is. Else packed clips, and the dimensions must be kept.
    """
    dims = {d % 5 if -5 <= d < 5 else d for d in ([dim] if isinstance(dim, int) else dim)}
    if not dims <= {1, 2, 3, 4}:
        raise refusal(op, f"over dimensions {dim} mixes clips, or they do not exist", "Reduce over some of 1, 2, 3, 4")
    frames, lengths = to_frames(x)
    inner = [FRAME_DIM[d] for d in dims - {2}]
    if 2 not in dims:
        if not keepdim:
            remedy = "Keep the dimensions, keepdim=True, or reduce over T as well"
            raise refusal(op, f"over dimensions {dim} leaves clips of different lengths", remedy)
        reduced = getattr(frames, op)(inner, keepdim=True, dtype=dtype)
        return from_frames(reduced, lengths, multiple=x.multiple)
    dtype = dtype or (torch.float64 if x.dtype == torch.float64 else torch.float32)
    per_frame = frames.sum(inner, keepdim=True, dtype=dtype) if inner else frames.to(dtype)
    per_clip = torch.stack([getattr(clip, op)(0) for clip in per_frame.split(lengths)])  # (N, H, W, C)
    if op == "mean":
        per_clip = per_clip * (per_frame[0].numel() / frames[0].numel())
    result = per_clip.unsqueeze(1).permute(0, 4, 1, 2, 3)
    return result if keepdim else result.squeeze(tuple(dims))


@handles(F.adaptive_avg_pool3d)
def adaptive_avg_pool3d(input: PackedClips, output_size: int | Sequence[int | None]) -> Tensor | PackedClips:
    """To one frame: the mean over the clip, an ordinary (N, C, 1, H', W'); to None frames: each frame on its own."""
    frames, *space = triple(output_size)
    if (frames, *space) == (1, 1, 1):
        return mean(input, (2, 3, 4), keepdim=True)
    if frames == 1:
        return F.adaptive_avg_pool3d(mean(input, 2, keepdim=True), (1, *space))
    if (frames, *space) == (None, 1, 1):
        return mean(input, (3, 4), keepdim=True)
    if frames is None:
        return over_frames(input, lambda frames: F.adaptive_avg_pool2d(frames, space))
    return each_alone(F.adaptive_avg_pool3d, input, (frames, *space))


@handles(F.adaptive_max_pool3d)
def adaptive_max_pool3d(
    input: PackedClips, output_size: int | Sequence[int | None], return_indices: bool = False
) -> Tensor | PackedClips:
    """Like adaptive_avg_pool3d."""
    size = triple(output_size)
    if size[0] is None:
        return over_frames(input, lambda frames: F.adaptive_max_pool2d(frames, size[1:]))
    pooled = each_alone(F.adaptive_max_pool3d, input, size)
    return to_dense(pooled) if size[0] == 1 else pooled
