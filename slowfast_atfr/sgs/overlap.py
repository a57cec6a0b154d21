"""Segments whose borders lie within frames, so that neighbours share a frame: pure functions on the host, in float64.

Time is measured by change: each map extends over half of the change to either side of it, the first and the last to one
side only, and a block of B segments is divided into B intervals of equal change. N blocks of at most T maps; lengths
are given separately.
"""

import numpy as np

LEAST = 1e-6  # the smallest extent of a map; all of a block that moves throughout add up to about 1
WIDER = 1 + 1e-3  # a segment is wider than the widest map by this factor, so that it has the middle of one
PLACES = 2.0**30  # places are multiples of 1 / PLACES: borders that meet do not share a frame by rounding errors


def map_extents(losses: np.ndarray, lengths: np.ndarray, counts: np.ndarray, penalty: float) -> np.ndarray:
    """Extents of maps along the change of their block, not normalised.

    The change between neighbours is the square root of the loss of merging them: the share of time in which they move,
    or the distance between their features. All extents are raised alike, which brings segments closer to uniform
    pooling: by the penalty in total, or by what makes a segment wider than any map, if that is more.

    Args:
        losses: (N, T + 1, T + 1), from `motion_losses` or `segment_losses`, or a mean of several.
        lengths: (N,) maps of each block.
        counts: (N,) segments that it is to have, at most its length.
        penalty: SGS.SIZE_PENALTY.
    Returns:
        (N, T), 0 where a block has ended.
    """
    longest = losses.shape[1] - 1
    real = np.arange(longest) < lengths[:, None]
    steps = np.sqrt(np.diagonal(losses, 2, 1, 2)) * real[:, 1:]  # (N, T - 1)
    extents = (np.pad(steps, ((0, 0), (1, 0))) + np.pad(steps, ((0, 0), (0, 1)))) / 2
    spare = np.maximum(lengths - counts, 1)[:, None]
    total, most = extents.cumsum(1)[:, -1:], extents.max(1, keepdims=True)
    even = ((counts[:, None] * WIDER * most - total) / spare).clip(min=LEAST)
    even = np.maximum(even, penalty / lengths[:, None])
    raised = np.where((lengths == counts)[:, None], 1, extents + even)
    return np.where(real, raised, 0)


def overlap(extents: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Divide blocks into intervals of equal extent.

    Args:
        extents: (N, T), from `map_extents`.
        counts: (N,) intervals of each block.
    Returns:
        (N, T) interval of each map's middle; (N, B, T) share of each map in each interval, B = max(counts): the shares
        of a map add up to 1, or to 0 where its block has ended.
    """
    until = extents.cumsum(1)
    until = np.round(until / until[:, -1:] * counts[:, None] * PLACES) / PLACES
    begin = np.pad(until, ((0, 0), (1, 0)))[:, :-1]
    middle = np.minimum(np.floor((begin + until) / 2).astype(np.int64), counts[:, None] - 1)
    number = np.arange(max(counts))[:, None]
    common = np.minimum(until[:, None], number + 1) - np.maximum(begin[:, None], number)
    width = np.where(extents > 0, until - begin, 1)
    return middle, (common / width[:, None]).clip(min=0) * (extents > 0)[:, None]
