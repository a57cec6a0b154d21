"""Copies of whole clips between two rows of frames, with gradients that are the inverse copy.

Both run on (frames, values) matrices: index operations on dimension 2 of (N, C, T, H, W) lose the memory format, and
`torch.cat` of slices is the fastest way to build the result.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.autograd import Function


def place(frames: Tensor, lengths: Sequence[int], starts: Sequence[int], total: int, fill: float = 0.0) -> Tensor:
    """Put clips into a longer row of frames; what no clip covers is `fill`.

    Args:
        frames: (sum(lengths), H, W, C), clip after clip.
        lengths: frames of each clip.
        starts: first frame of each clip in the result, increasing, no two clips overlapping.
        total: frames of the result.
    Returns:
        (total, H, W, C), contiguous; `frames` itself when there is nothing to fill.
    """
    if total == len(frames):
        return frames
    rows = _Place.apply(frames.flatten(1), tuple(lengths), tuple(starts), total, fill)
    return rows.view(total, *frames.shape[1:])


def take(frames: Tensor, lengths: Sequence[int], starts: Sequence[int]) -> Tensor:
    """Get clips out of a row of frames; the inverse of `place`.

    Args:
        frames: (S, H, W, C).
        lengths: frames of each clip to take.
        starts: first frame of each clip, increasing, no two clips overlapping.
    Returns:
        (sum(lengths), H, W, C), clip after clip, contiguous; `frames` itself when all are taken.
    """
    if sum(lengths) == len(frames):
        return frames
    rows = _Take.apply(frames.flatten(1), tuple(lengths), tuple(starts))
    return rows.view(-1, *frames.shape[1:])


def starts_of(lengths: Sequence[int]) -> tuple[int, ...]:
    """First frame of each clip when they stand end to end."""
    return tuple(accumulate(lengths, initial=0))[:-1]


class _Place(Function):
    """On (frames, values) rows; returns no view of its own making, so that the result may be changed in place."""

    @staticmethod
    def forward(ctx, rows: Tensor, lengths: tuple, starts: tuple, total: int, fill: float) -> Tensor:
        ctx.lengths, ctx.starts = lengths, starts
        ends = [0, *(start + length for start, length in zip(starts, lengths, strict=True))]
        widths = [start - end for start, end in zip((*starts, total), ends, strict=True)]
        gap = rows.new_full((max(widths), rows.shape[1]), fill)
        pieces = [gap[: widths[0]]]
        for clip, width in zip(rows.split(lengths), widths[1:], strict=True):
            pieces += [clip, gap[:width]]
        return torch.cat(pieces)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        return _Take.apply(grad, ctx.lengths, ctx.starts), None, None, None, None


class _Take(Function):
    """The inverse of _Place."""

    @staticmethod
    def forward(ctx, rows: Tensor, lengths: tuple, starts: tuple) -> Tensor:
        ctx.lengths, ctx.starts, ctx.total = lengths, starts, len(rows)
        return torch.cat([rows[start : start + length] for start, length in zip(starts, lengths, strict=True)])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple:
        return _Place.apply(grad, ctx.lengths, ctx.starts, ctx.total, 0.0), None, None
