"""Bins over [0, extent] of each coordinate: which frame is in which, which are active, in what order they leave."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from slowfast_atfr.packed.gather_scatter import gather_clips, scatter_clips
from slowfast_atfr.packed.layout import Layout, Placement
from slowfast_atfr.sgs.similarity import Coordinates
from slowfast_atfr.utils.precision import full_precision_matmul

NON_FINITE = -1  # bin of all frames of a block with a coordinate that is not finite
NO_FRAME = -2  # where a block is shorter than the longest


def block_lengths(lengths: Sequence[int], block_size: int) -> tuple[tuple[int, ...], ...]:
    """Cut each clip into runs of block_size frames; the last may be shorter, 0 keeps the clip whole.

    >>> block_lengths((5, 2), 2)
    ((2, 2, 1), (2,))
    """
    if block_size == 0:
        return tuple((length,) for length in lengths)
    return tuple(tuple(min(block_size, length - start) for start in range(0, length, block_size)) for length in lengths)


def assign_bins(coordinates: Coordinates, real: Tensor, num_bins: Tensor) -> tuple[Tensor, Tensor]:
    """Put each frame into one of B bins of equal width over [0, extent], along each of K axes.

    For each axis u = 2 B Delta / extent and bin = min(B - 1, floor(B Delta / extent)), counted from 0, so that bin b
    covers u in [2b, 2b + 2] around its centre 2b + 1. Where the extent is 0, all frames are in bin 0. With K axes a
    frame is in a cell of the K-dimensional grid, the one with these K indices.

    Args:
        coordinates: values (N, T, K), K extents; the block's maximum over its real frames where an extent is None.
            Gradients flow through the values and that maximum.
        real: (N, T) bool, which frames exist.
        num_bins: (N,) B of each block, >= 1.
    Returns:
        offset (N, T, K), u minus the centre of the frame's own bin, in [-1, 1]; bin (N, T, K) int32, NON_FINITE
        in all of a block with a value that is not finite, NO_FRAME where the block has ended.
    Source: Fayyaz et al., CVPR 2021, section 4.2, and the supplement's Eq. 1, read as cells of a grid.
    """
    values = coordinates.values.masked_fill(~real[..., None], 0)
    largest = values.amax(dim=1, keepdim=True)
    extent = torch.stack(
        [
            largest[..., axis] if end is None else torch.full_like(largest[..., axis], end)
            for axis, end in enumerate(coordinates.extents)
        ],
        dim=-1,
    )
    share = values / extent.masked_fill(extent == 0, 1)  # (N, T, K) in [0, 1]
    count = num_bins[:, None, None]
    bins = torch.minimum((share * count).floor(), count - 1).nan_to_num(0)
    offset = 2 * count * share - (2 * bins + 1)
    finite = torch.isfinite(values).all(dim=2, keepdim=True).all(dim=1, keepdim=True)
    return offset, bins.to(torch.int32).masked_fill(~finite, NON_FINITE).masked_fill(~real[..., None], NO_FRAME)


@dataclass(frozen=True)
class BinPlan:
    """Active bins of every block, on the host: all that the device needs to add up.

    output: (N, T) which of its block's active bins each frame is added to, counted in output order; NO_FRAME
        where the block has ended.
    counts: active bins of each block.
    lengths: active bins of each clip, the sum over its blocks.
    """

    output: np.ndarray
    counts: tuple[int, ...]
    lengths: tuple[int, ...]


def plan_bins(bins: np.ndarray, blocks: Sequence[Sequence[int]], order: str) -> BinPlan:
    """Find the active bins: those with a member. At most T of the B^K cells of a block are; the grid is never built.

    Frames are renumbered by one coordinate after another, so no number exceeds frames x B: O(K S log S) for the
    S frames of all blocks together.

    Args:
        bins: (N, T, K) bins of each frame, from assign_bins; N blocks, clip by clip.
        blocks: for each clip the lengths of its blocks.
        order: "bin" by the index of the bin (cells lexicographically), "time" by the mean time of the members, then by
            the bin.
    """
    lengths = np.array([length for clip in blocks for length in clip])
    block, time = _block_and_time(lengths)  # of each of the S frames
    cell = block
    for column in bins[block, time].astype(np.int64).T:  # cells keep the order of (block, coordinates so far)
        _, cell = np.unique(cell * (column.max() + 1) + column, return_inverse=True)
    block_of_cell = np.empty(cell.max() + 1, dtype=np.int64)
    block_of_cell[cell] = block
    if order == "time":
        mean_time = np.bincount(cell, weights=time) / np.bincount(cell)
        cell = np.argsort(np.lexsort((mean_time, block_of_cell)))[cell]  # both sorts are stable
    counts = np.bincount(block_of_cell, minlength=len(lengths))
    output = np.full(bins.shape[:2], NO_FRAME, dtype=np.int64)
    output[block, time] = cell - (np.cumsum(counts) - counts)[block]
    clip_of_block = np.repeat(np.arange(len(blocks)), [len(clip) for clip in blocks])
    per_clip = np.bincount(clip_of_block, weights=counts, minlength=len(blocks)).astype(np.int64)
    return BinPlan(output, tuple(counts.tolist()), tuple(per_clip.tolist()))


class AddUp(torch.autograd.Function):
    """Weighted sums of the frames of each bin: (S, M) frames and their weights -> (sum(counts), M).

    Sums run in a fixed order, so results repeat bit for bit. A CPU adds frame by frame, which reads each frame once: a
    batched matrix product over all blocks takes three times as long there. Other devices compute that product, and so
    does half precision, where it rounds once and not at each frame.

    Args of apply:
        weights: (N, B', T), zero for frames that are not members; each block uses the first counts[n] x lengths[n].
        frames: (S, M), the frames of all blocks.
        blocks: layout of the N blocks.
        active: positions of the counts[n] active bins of each block among N x B'.
        output: (N, T) which of its block's bins each frame is in (BinPlan.output); or, where bins share frames,
            (N, B', T), not zero for members.
    """

    @staticmethod
    def forward(
        ctx: Any, weights: Tensor, frames: Tensor, blocks: Layout, active: Placement, output: np.ndarray
    ) -> Tensor:
        ctx.save_for_backward(weights, frames)
        ctx.blocks, ctx.active, ctx.output = blocks, active, output
        if not _one_by_one(frames):
            with full_precision_matmul():
                return gather_clips(torch.bmm(weights, _by_block(frames, blocks)).flatten(0, 1), active)
        out = frames.new_empty(active.frames, frames.shape[1])
        members = _Members(output, blocks.lengths, active.lengths)
        _add_rows(out, members.row, members.of(weights), frames.unbind(), members.frame)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weights, frames = ctx.saved_tensors
        needs_weights, needs_frames = ctx.needs_input_grad[:2]
        grad_weights = grad_frames = None
        if _one_by_one(frames):
            members, grads = _Members(ctx.output, ctx.blocks.lengths, ctx.active.lengths), grad.contiguous().unbind()
            if needs_frames:
                grad_frames = torch.empty_like(frames)
                _add_rows(grad_frames, members.frame, members.of(weights), grads, members.row)
            if needs_weights:
                rows, pairs = frames.unbind(), zip(members.row, members.frame, strict=True)
                grad_weights = torch.zeros_like(weights)
                grad_weights[members.places] = torch.stack([grads[row] @ rows[frame] for row, frame in pairs])
            return grad_weights, grad_frames, None, None, None
        grads = scatter_clips(grad, ctx.active).view(len(weights), -1, grad.shape[1])  # (N, B', M)
        with full_precision_matmul():
            if needs_frames:
                grad_frames = gather_clips(torch.bmm(weights.mT, grads).flatten(0, 1), ctx.blocks.stacked())
            if needs_weights:
                grad_weights = torch.bmm(grads, _by_block(frames, ctx.blocks).mT)
        return grad_weights, grad_frames, None, None, None


def _by_block(frames: Tensor, blocks: Layout) -> Tensor:
    """(S, M) -> (N, T, M), zero where a block is shorter than the longest; a view where none is."""
    return scatter_clips(frames, blocks.stacked()).view(len(blocks.lengths), -1, frames.shape[1])


def _one_by_one(frames: Tensor) -> bool:
    return frames.device.type == "cpu" and frames.dtype in (torch.float32, torch.float64)


class _Members:
    """Pairs of a bin and a frame in it, in the order of frames.

    Args:
        output: see AddUp.
        lengths, counts: frames and active bins of each block.
    Attributes:
        places: where each pair is in the (N, B', T) weights.
        frame, row: of each pair, among the frames and the active bins of all blocks.
    """

    def __init__(self, output: np.ndarray, lengths: Sequence[int], counts: Sequence[int]) -> None:
        if output.ndim == 2:
            block, time = _block_and_time(lengths)
            bins = output[block, time]
        else:
            block, time, bins = output.transpose(0, 2, 1).nonzero()
        self.places = block, bins, time
        self.frame = (np.cumsum([0, *lengths[:-1]])[block] + time).tolist()
        self.row = (np.cumsum([0, *counts[:-1]])[block] + bins).tolist()

    def of(self, weights: Tensor) -> list[float]:
        """The weight of each pair."""
        return weights[self.places].tolist()


def _add_rows(
    out: Tensor, targets: Sequence[int], weights: Sequence[float], rows: Sequence[Tensor], sources: Sequence[int]
) -> None:
    """Add weight x row to a row of `out`, pair by pair; each row of it is written at least once, whatever it holds."""
    parts, filled = out.unbind(), set()
    for target, weight, source in zip(targets, weights, sources, strict=True):
        if target in filled:
            parts[target].add_(rows[source], alpha=weight)
        else:
            torch.mul(rows[source], weight, out=parts[target])
            filled.add(target)


def _block_and_time(lengths: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The block of each frame, and its time in the block."""
    block = np.repeat(np.arange(len(lengths)), lengths)
    return block, np.arange(len(block)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
