"""Bins over [0, max Delta]: which frame is in which, which are active, and in what order they leave."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

NON_FINITE = -1  # bin of every frame of a block whose positions are not all finite
NO_FRAME = -2  # where a block is shorter than the longest
NO_BIN = -3  # where a block has fewer active bins than the one with most


def block_lengths(lengths: Sequence[int], block_size: int) -> tuple[tuple[int, ...], ...]:
    """Cut each clip into runs of block_size frames; the last may be shorter, 0 keeps the clip whole.

    >>> block_lengths((5, 2), 2)
    ((2, 2, 1), (2,))
    """
    if block_size == 0:
        return tuple((length,) for length in lengths)
    return tuple(tuple(min(block_size, length - start) for start in range(0, length, block_size)) for length in lengths)


def assign_bins(similarity: Tensor, real: Tensor, num_bins: Tensor) -> tuple[Tensor, Tensor]:
    """Put each frame into one of B bins of equal width over [0, max Delta] of its block.

    With m = max over the block of Delta: u = 2 B Delta / m and bin = min(B - 1, floor(B Delta / m)), counted from 0, so
    that bin b covers u in [2b, 2b + 2] around its centre 2b + 1. A block with m = 0 has all its frames in bin 0.

    Args:
        similarity: (N, T) Delta of each frame, >= 0; gradients flow through it and through the maximum.
        real: (N, T) bool, which frames exist.
        num_bins: (N,) B of each block, >= 1.
    Returns:
        u (N, T), in bin units; bin (N, T) int32, NON_FINITE throughout a block that has a value that is not finite,
        NO_FRAME where no frame is.
    """
    similarity = similarity.masked_fill(~real, 0)
    largest = similarity.amax(dim=1, keepdim=True)
    share = similarity / largest.masked_fill(largest == 0, 1)  # (N, T) in [0, 1]
    count = num_bins[:, None]
    bins = torch.minimum((share * count).floor(), count - 1).nan_to_num(0).to(torch.int32)
    finite = torch.isfinite(similarity).all(dim=1, keepdim=True)
    return 2 * count * share, bins.masked_fill(~finite, NON_FINITE).masked_fill(~real, NO_FRAME)


@dataclass(frozen=True)
class BinPlan:
    """Active bins of every block, on the host: all that the device needs to know to add up.

    active: (N, B') index of each active bin, in the order in which they leave; NO_BIN where a block has fewer.
    counts: active bins of each block.
    lengths: active bins of each clip, the sum over its blocks.
    """

    active: np.ndarray
    counts: tuple[int, ...]
    lengths: tuple[int, ...]


def plan_bins(bins: np.ndarray, blocks: Sequence[Sequence[int]], order: str) -> BinPlan:
    """Find the active bins: those with a member.

    Args:
        bins: (N, T) bin of each frame, from assign_bins; N blocks, clip by clip.
        blocks: for each clip the lengths of its blocks.
        order: "bin" by the index of the bin, "time" by the mean time of the members (then by the bin).
    """
    flat = [length for clip in blocks for length in clip]
    rows = []
    for row, length in zip(bins, flat, strict=True):
        active, inverse, members = np.unique(row[:length], return_inverse=True, return_counts=True)
        if order == "time":
            mean_time = np.bincount(inverse, weights=np.arange(length)) / members
            active = active[np.argsort(mean_time, kind="stable")]
        rows.append(active)
    counts = tuple(len(row) for row in rows)
    table = np.full((len(rows), max(counts)), NO_BIN, dtype=np.int64)
    for row, active in zip(table, rows, strict=True):
        row[: len(active)] = active
    ends = np.cumsum([len(clip) for clip in blocks])
    lengths = tuple(int(sum(counts[end - len(clip) : end])) for clip, end in zip(blocks, ends, strict=True))
    return BinPlan(table, counts, lengths)


class AddUp(torch.autograd.Function):
    """O = Psi I for every block: a matrix product each, written side by side.

    weights (N, B', T) of which the first counts[n] x lengths[n] are used, frames (S, M) with S = sum(lengths)
    -> (sum(counts), M). Sums run in a fixed order, so results repeat bit for bit.
    """

    @staticmethod
    def forward(ctx, weights: Tensor, frames: Tensor, lengths: tuple[int, ...], counts: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(weights, frames)
        ctx.lengths, ctx.counts = lengths, counts
        out = frames.new_empty(sum(counts), frames.shape[1])
        for weight, source, target in zip(
            _used(weights, lengths, counts), frames.split(lengths), out.split(counts), strict=True
        ):
            torch.mm(weight, source, out=target)
        return out

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        weights, frames = ctx.saved_tensors
        grad_weights = torch.zeros_like(weights) if ctx.needs_input_grad[0] else None
        grad_frames = torch.empty_like(frames) if ctx.needs_input_grad[1] else None
        used, grads = _used(weights, ctx.lengths, ctx.counts), grad.contiguous().split(ctx.counts)
        for index, (length, count) in enumerate(zip(ctx.lengths, ctx.counts, strict=True)):
            start = sum(ctx.lengths[:index])
            if grad_frames is not None:
                torch.mm(used[index].T, grads[index], out=grad_frames[start : start + length])
            if grad_weights is not None:
                grad_weights[index, :count, :length] = grads[index] @ frames[start : start + length].T
        return grad_weights, grad_frames, None, None


def _used(weights: Tensor, lengths: tuple[int, ...], counts: tuple[int, ...]) -> list[Tensor]:
    return [weight[:count, :length] for weight, length, count in zip(weights, lengths, counts, strict=True)]
