"""A fixed number of maps after SGS: what SGS makes of random clips depends on weights that are not trained."""

from functools import partial

import numpy as np
from torch import Tensor, nn

from slowfast_atfr.packed import PackedClips
from slowfast_atfr.sgs import TemporalSampler
from slowfast_atfr.sgs.temporal_sampler import Groups, Measured


def force_bins(model: nn.Module, share: float = 0.5) -> None:
    """Make every SGS layer of a network use that share of its bins, in place; the rest of SGS runs, backward as well.

    The number differs from clip to clip, see `ragged_lengths`. Bins share no frames then, as they would with
    SGS.SEGMENT_MAP overlap.
    """

    def add_up(layer: TemporalSampler, measured: Measured, groups: Groups) -> Tensor | PackedClips:
        return TemporalSampler.add_up(layer, measured, Groups(fewer_bins(groups.bins, share)))

    for layer in model.modules():
        if isinstance(layer, TemporalSampler):
            layer.add_up = partial(add_up, layer)


def fewer_bins(bins: np.ndarray, share: float) -> np.ndarray:
    """Replace the bins (N, T, K) of N clips of T frames by as many as `ragged_lengths` gives, neighbours together."""
    num_clips, frames = bins.shape[:2]
    kept = np.array(ragged_lengths(frames, num_clips, share))
    return np.broadcast_to((np.arange(frames) * kept[:, None] // frames)[..., None], bins.shape).astype(bins.dtype)


def ragged_lengths(frames: int, batch: int, share: float = 0.5) -> tuple[int, ...]:
    """Return lengths that are `share` of the frames on average, from half to one and a half times that, in mixed order.

    share: at most two thirds.

    >>> ragged_lengths(8, 4)
    (2, 5, 3, 6)
    """
    mean = frames * share
    if batch == 1:
        return (max(1, round(mean)),)
    lengths = np.linspace(mean / 2, 3 * mean / 2, batch).round().clip(1, frames).astype(int)
    while lengths.sum() > max(batch, round(mean * batch)):  # what rounding has added
        lengths[lengths.argmax()] -= 1
    return tuple(int(length) for length in (*lengths[::2], *lengths[1::2]))
