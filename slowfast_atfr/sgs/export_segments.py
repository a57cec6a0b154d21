"""What SegmentSGS does to one clip with tensors only, for torch.export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slowfast_atfr.config import ConfigError
from slowfast_atfr.sgs import one_clip_segments as traced
from slowfast_atfr.sgs.one_clip import block_of_length, members_of
from slowfast_atfr.sgs.segments import GRID, STATIC, map_weights

if TYPE_CHECKING:
    from slowfast_atfr.sgs.segment_sampler import SegmentSGS


def losses_of_clip(layer: SegmentSGS, clip: Tensor) -> list[Tensor]:
    """As `SegmentSGS.losses`, of each block of a clip (1, C, T, H, W)."""
    if isinstance(clip.shape[2], torch.SymInt):
        raise ConfigError(
            f"{layer.label} cuts segments of a clip that another SGS layer has shortened, which cannot be exported; "
            "export a network with one stage in SGS.STAGES"
        )
    maps = clip[0].transpose(0, 1)
    features = traced.cell_means(maps, GRID).flatten(1) if layer.features == "grid" else maps.mean((2, 3))
    blocks = features.split(layer.block_size or len(features))
    losses = traced.motion_losses if layer.loss == "motion" else traced.segment_losses
    return [losses(traced.mean_squared_distances(block), STATIC * layer.spread) for block in blocks]


def group_clip(layer: SegmentSGS, losses: Sequence[Tensor], ratio: int = 1) -> tuple[Tensor, Tensor]:
    """Cut a clip into segments.

    Args:
        losses: (T + 1, T + 1) of each block.
        ratio: divide each frame, and each segment, into this number.
    Returns:
        (B', T) bool, members of each segment, or shares of frames; (B', T) their weights; both dimensions times ratio.
    """
    lengths = [len(block) - 1 for block in losses]
    if layer.segment_map == "overlap":
        return _overlapping(layer, losses, lengths, ratio)
    segments = []
    for block, length in zip(losses, lengths, strict=True):
        count, starts = _count(layer, block, length)
        segments.append(traced.segments_of(starts, count, length))
    members = members_of(block_of_length(lengths), [torch.cat(segments)], "bin")
    if ratio > 1:
        members = traced.finer(members, ratio)
    return members, map_weights(members, torch.ones(1, dtype=torch.float64), layer.segment_map)


def _overlapping(
    layer: SegmentSGS, losses: Sequence[Tensor], lengths: Sequence[int], ratio: int
) -> tuple[Tensor, Tensor]:
    middles, shares, first = [], [], 0
    for block, length in zip(losses, lengths, strict=True):
        count, _ = _count(layer, block, length)
        extents = traced.map_extents(block, count, layer.size_penalty).repeat_interleave(ratio)
        middle, share = traced.overlap(extents, ratio * count)
        middles.append(first + middle)
        shares.append(share)
        first += len(share)
    row = torch.cat(middles)  # of each frame, among the segments that the blocks may have
    members = members_of(block_of_length([ratio * length for length in lengths]), [row], "bin")
    own = torch.block_diag(*shares)[row[members.int().argmax(1)]]
    return own, map_weights(own, torch.ones(1, dtype=own.dtype), layer.segment_map)


def _count(layer: SegmentSGS, block: Tensor, length: int) -> tuple[Tensor, list[Tensor]]:
    """() the number of a block's segments; where they begin, see `traced.best_cuts`."""
    target = layer.test_target_maps
    wanted = length if layer.test_num_bins == -1 or target is not None else min(layer.test_num_bins, length)
    curve, starts = traced.best_cuts(block, layer.size_penalty, wanted)
    if layer.loss == "motion":
        curve = traced.motion_curve(block, wanted)
    count = torch.full((), wanted)
    if target is not None and length > 1:
        count = traced.count_of(traced.gains(curve), target, layer.gain_quantiles, layer.cuts)
    return count, starts
