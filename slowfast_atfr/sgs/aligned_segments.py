"""Cut both pathways of a network at the same times."""

import numpy as np
from torch import Tensor

from slowfast_atfr.packed import Clips
from slowfast_atfr.sgs.bins import NON_FINITE
from slowfast_atfr.sgs.export_segments import group_clip, losses_of_clip
from slowfast_atfr.sgs.overlap import overlap
from slowfast_atfr.sgs.segment_sampler import SegmentSGS
from slowfast_atfr.sgs.temporal_sampler import Groups, on_host, real_frames
from slowfast_atfr.utils.exporting import is_exporting


def sample_aligned(slow: SegmentSGS, fast: SegmentSGS, slow_clips: Clips, fast_clips: Clips) -> list[Clips]:
    """Cut both pathways of a network at the same times, with one wait for the device.

    `slow` cuts by the mean of both losses. A segment of n slow frames is alpha n fast frames, which become alpha
    maps of n frames each.

    Returns:
        packed clips, slow and fast; a fast clip has alpha times as many maps.
    Raises:
        ValueError: if the fast pathway's blocks are not a multiple of the slow one's.
    """
    if is_exporting():
        return _sample_clip_aligned(slow, fast, slow_clips, fast_clips)
    measured = [slow.measure(slow_clips), fast.measure(fast_clips)]
    hosts = on_host(measured)
    lengths, fast_lengths = (seen.batch.block_layout.lengths for seen in measured)
    ratio = fast_lengths[0] // lengths[0]
    if len(lengths) != len(fast_lengths) or any(ratio * n != m for n, m in zip(lengths, fast_lengths, strict=True)):
        raise ValueError(
            f"{slow.label} and {fast.label} are cut together, but have blocks of {lengths} and {fast_lengths} frames; "
            "the fast pathway's must be the same multiple of the slow one's"
        )
    (losses, bad), (fast_losses, fast_bad) = (
        sampler.losses(seen, host) for sampler, seen, host in zip((slow, fast), measured, hosts, strict=True)
    )
    both = (losses + fast_losses[:, ::ratio, ::ratio]) / 2
    groups = slow.cut(both, bad, lengths, hosts[0])
    bins, extents = groups.bins[..., 0], groups.extents
    if extents is None:
        finer = _finer(bins, real_frames(measured[0].batch.block_layout), ratio)
    else:
        extents = np.repeat(extents, ratio, axis=1)
        finer = overlap(extents, ratio * (bins.max(1) + 1))[0]
    fast_groups = Groups(np.where(fast_bad[:, None], NON_FINITE, finer)[..., None], extents)
    return [slow.add_up(measured[0], groups), fast.add_up(measured[1], fast_groups)]


def _sample_clip_aligned(slow: SegmentSGS, fast: SegmentSGS, slow_clip: Tensor, fast_clip: Tensor) -> list[Tensor]:
    """`sample_aligned` of one clip with tensors only."""
    ratio = fast_clip.shape[2] // slow_clip.shape[2]
    losses, fast_losses = losses_of_clip(slow, slow_clip), losses_of_clip(fast, fast_clip)
    both = [(block + other[::ratio, ::ratio]) / 2 for block, other in zip(losses, fast_losses, strict=True)]
    return [
        slow.add_up_clip(slow_clip, *group_clip(slow, both)),
        fast.add_up_clip(fast_clip, *group_clip(slow, both, ratio)),
    ]


def _finer(segments: np.ndarray, real: np.ndarray, ratio: int) -> np.ndarray:
    """(N, T) segments of slow frames -> (N, ratio T) of fast ones: each is divided into `ratio` of equal length.

    real: (N, T) where a block has a frame.
    """
    together = segments[:, :, None] == segments[:, None, :]
    size = (together & real[:, None, :]).sum(2)  # frames of each frame's segment
    begin = together.argmax(2)
    time = np.arange(segments.shape[1] * ratio)
    slow = time // ratio
    return ratio * segments[:, slow] + (time - ratio * begin[:, slow]) // size[:, slow]
