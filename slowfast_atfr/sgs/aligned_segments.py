"""Cut both pathways of a network at the same times."""

import numpy as np
from torch import Tensor

from slowfast_atfr.config import ConfigError
from slowfast_atfr.packed import Clips
from slowfast_atfr.sgs.export_segments import group_clip, losses_of_clip
from slowfast_atfr.sgs.segment_sampler import Segments, SegmentSGS
from slowfast_atfr.sgs.temporal_sampler import on_host, real_frames
from slowfast_atfr.utils.exporting import is_exporting


def sample_aligned(slow: SegmentSGS, fast: SegmentSGS, slow_clips: Clips, fast_clips: Clips) -> list[Clips]:
    """Cut both pathways of a network at the same times, with one wait for the device.

    `slow` cuts by the mean of both losses. A segment of n slow frames is alpha n fast frames, which become alpha
    maps of n frames each.

    Returns:
        packed clips, slow and fast; a fast clip has alpha times as many maps.
    Raises:
        ConfigError: if their segment_map differs.
        ValueError: if the fast pathway's blocks are not a multiple of the slow one's.
    """
    if slow.segment_map != fast.segment_map:
        raise ConfigError(
            f"{slow.label} and {fast.label} are cut together, but have segment_map {slow.segment_map!r} and "
            f"{fast.segment_map!r}; give both the same"
        )
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
    cuts = slow.cut(both, bad, lengths, hosts[0])
    finer = _finer(cuts, real_frames(measured[0].batch.block_layout), ratio)
    return [slow.add_up(measured[0], cuts.groups(bad)), fast.add_up(measured[1], finer.groups(fast_bad))]


def _sample_clip_aligned(slow: SegmentSGS, fast: SegmentSGS, slow_clip: Tensor, fast_clip: Tensor) -> list[Tensor]:
    """`sample_aligned` of one clip with tensors only."""
    ratio = fast_clip.shape[2] // slow_clip.shape[2]
    losses, fast_losses = losses_of_clip(slow, slow_clip), losses_of_clip(fast, fast_clip)
    both = [(block + other[::ratio, ::ratio]) / 2 for block, other in zip(losses, fast_losses, strict=True)]
    return [
        slow.add_up_clip(slow_clip, *group_clip(slow, both)),
        fast.add_up_clip(fast_clip, *group_clip(slow, both, ratio)),
    ]


def _finer(cuts: Segments, real: np.ndarray, ratio: int) -> Segments:
    """Divide each segment of T slow frames into `ratio` segments of fast ones, of equal length or extent.

    real: (N, T) where a block has a slow frame.
    """
    if cuts.extents is not None:
        return Segments(ratio * cuts.counts, extents=np.repeat(cuts.extents, ratio, axis=1))
    segments = cuts.numbers
    together = segments[:, :, None] == segments[:, None, :]
    size = (together & real[:, None, :]).sum(2)  # frames of each frame's segment
    begin = together.argmax(2)
    time = np.arange(segments.shape[1] * ratio)
    slow = time // ratio
    numbers = ratio * segments[:, slow] + (time - ratio * begin[:, slow]) // size[:, slow]
    return Segments(ratio * cuts.counts, numbers)
