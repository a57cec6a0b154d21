"""Copy whole clips in and out of longer tensors of frames, sum them, and expand entries: one call for all clips.

All run on (frames, values) matrices, since index operations on dimension 2 of (N, C, T, H, W) lose the memory format.
The gradient of each is another of them. Sums run in a fixed order, so results repeat bit for bit, and each clip is
summed by itself: a NaN stays in its clip.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from slowfast_atfr.packed import cpu_quirks
from slowfast_atfr.packed.layout import Layout, Placement


def scatter_clips(frames: Tensor, where: Placement, fill: float = 0.0) -> Tensor:
    """Copy clips into a longer tensor of frames; what no clip covers is `fill`.

    Args:
        frames: (where.frames, ...), clip after clip.
    Returns:
        (where.total, ...), contiguous; `frames` itself when nothing moves.
    """
    if where.is_whole:
        return frames
    return _run(_Scatter, _rows(frames), where, fill).view(where.total, *frames.shape[1:])


def gather_clips(frames: Tensor, where: Placement) -> Tensor:
    """Copy clips out of a longer tensor of frames; the inverse of `scatter_clips`.

    Args:
        frames: (where.total, ...).
    Returns:
        (where.frames, ...), clip after clip, contiguous; `frames` itself when nothing moves.
    """
    if where.is_whole:
        return frames
    return _run(_Gather, _rows(frames), where).view(where.frames, *frames.shape[1:])


def spread(entries: Tensor, layout: Layout) -> Tensor:
    """(N, ...) entries of clips -> (S, ...), the entry of its clip for every frame."""
    return _run(_Spread, entries.flatten(1), layout).view(-1, *entries.shape[1:])


def pool(frames: Tensor, layout: Layout, inner: Sequence[int], op: str, dtype: torch.dtype) -> Tensor:
    """Sum or mean over the frames of each clip, and over dimensions within them.

    Args:
        frames: (S, H, W, C).
        inner: dimensions within a frame, which are kept with size 1.
        op: "sum" or "mean".
        dtype: of the sums and the result.
    Returns:
        (N, H', W', C').
    """
    return _run(_Pool, frames, layout, tuple(inner), op, dtype)


def _run(function: type[Function], x: Tensor, *args: Any) -> Tensor:
    """`function.apply`, without its overhead where no gradient is needed."""
    needs_grad = torch.is_grad_enabled() and x.requires_grad
    return function.apply(x, *args) if needs_grad else function.forward(_NoContext(), x, *args)


class _NoContext:
    """The context of a function without a backward pass."""


class _Scatter(Function):
    """Returns a new tensor, not a view of one, so that the result may be changed in place."""

    @staticmethod
    def forward(ctx, rows: Tensor, where: Placement, fill: float) -> Tensor:
        ctx.where = where
        _, source, gaps = where.on(rows.device)
        placed = rows.index_select(0, source)
        return placed.index_fill_(0, gaps, fill) if where.total > where.frames else placed

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        return _Gather.apply(grad, ctx.where), None, None


class _Gather(Function):
    """The inverse of _Scatter."""

    @staticmethod
    def forward(ctx, rows: Tensor, where: Placement) -> Tensor:
        ctx.where = where
        return rows.index_select(0, where.on(rows.device)[0])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        return _Scatter.apply(grad, ctx.where, 0.0), None


class _Spread(Function):
    @staticmethod
    def forward(ctx, entries: Tensor, layout: Layout) -> Tensor:
        ctx.layout = layout
        return entries.index_select(0, layout.on(entries.device)[0])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        return pool(grad, ctx.layout, (), "sum", exact_type(grad.dtype)).to(grad.dtype), None


class _Pool(Function):
    @staticmethod
    def forward(ctx, frames: Tensor, layout: Layout, inner: tuple[int, ...], op: str, dtype: torch.dtype) -> Tensor:
        ctx.layout, ctx.op, ctx.shape_and_dtype = layout, op, (frames.shape, frames.dtype)
        per_frame = getattr(frames, op)(inner, keepdim=True, dtype=dtype) if inner else frames.to(dtype)
        return _over_time(per_frame, layout, op)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        (shape, dtype), layout = ctx.shape_and_dtype, ctx.layout
        if ctx.op == "mean":
            _, _, lengths = layout.on(grad.device)
            values = shape[1:].numel() / grad.shape[1:].numel()  # of a frame, for each value of the result
            grad = grad / lengths.view(-1, *(1,) * (grad.ndim - 1)) / values
        return spread(grad.to(dtype), layout).expand(shape), None, None, None, None


def _over_time(per_frame: Tensor, layout: Layout, op: str) -> Tensor:
    """(S, ...) -> (N, ...)."""
    if layout.is_even:
        return getattr(per_frame.unflatten(0, (len(layout.lengths), -1)), op)(1)
    rows = per_frame.flatten(1)
    if rows.device.type == "cpu" and rows.shape[1] >= cpu_quirks.WIDE_FRAME:
        per_clip = torch.stack([getattr(clip, op)(0) for clip in rows.split(layout.lengths)])
    else:
        per_clip = torch.segment_reduce(rows.contiguous(), op, offsets=layout.on(rows.device)[1], unsafe=True)
    return per_clip.view(-1, *per_frame.shape[1:])


def _rows(frames: Tensor) -> Tensor:
    return frames.flatten(1) if frames.ndim > 1 else frames[:, None]


def exact_type(dtype: torch.dtype) -> torch.dtype:
    """The type in which values of this type are summed."""
    return torch.promote_types(dtype, torch.float32) if dtype.is_floating_point else torch.float64
