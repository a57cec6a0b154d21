"""Cut blocks of frames into segments of neighbours that lose least when each becomes its mean: pure functions.

The loss of a segment is the sum of squared distances of its frames' features from their mean, as in Ward's rule, or the
square of the time in which it moves. The cuts of least total loss are found exactly, by dynamic programming, as in
change-point detection. Feature distances come from the device; the rest is on the host, in float64, for all blocks at
once. N blocks of at most T frames; lengths are given separately.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

MOVES = 0.5  # of a block's typical step between frames: a step from there on is motion
ABOVE = 1 + 1e-6  # thresholds are float32: gains that equal one are not above it
ROUNDED = 2.0**12  # shares of time are multiples of 1 / ROUNDED, so that rounding does not decide between equal losses
SEGMENT_MAPS = ("mean", "middle", "overlap")
GRID = 4  # of the features "grid": cells along height and width
STATIC = 0.1  # of the average training block's unit; blocks with less are static, and have that as their unit
LEAST_PENALTY = 1e-6  # breaks ties: equal frames are cut into segments of equal size


def squared_distances(features: Tensor) -> Tensor:
    """(N, T, F) -> (N, T, T) between the frames of each block; each computed by itself, independent of the batch."""
    return torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist").square()


def segment_losses(distances: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Loss of every segment of every block.

    Args:
        distances: (N, T, T) squared distances.
        sizes: (N, T) frames that each map represents, 0 where a block has ended.
    Returns:
        (N, T + 1, T + 1), entry [a, b] for the segment of maps a to b - 1: the size-weighted sum of squared distances
        from its mean; 0 where b <= a.
    """
    pairs = distances.astype(np.float64) * sizes[:, :, None] * sizes[:, None, :]
    within = np.pad(pairs.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))  # [a, b]: pairs of the first a and first b
    ends = np.einsum("nii->ni", within)
    total = ends[:, None, :] - within - within.transpose(0, 2, 1) + ends[:, :, None]
    size = np.pad(sizes.astype(np.float64).cumsum(1), ((0, 0), (1, 0)))
    size = size[:, None, :] - size[:, :, None]
    losses = np.divide(total, 2 * size, out=np.zeros_like(total), where=size > 0)
    return np.triu(losses.clip(min=0), 1)


def typical_step(steps: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(N,) size of the steps at which a block moves; their size, if all are equal. Pauses and outliers matter little.

    Args:
        steps, times: (N, T - 1), see `motion_losses`.
    Returns:
        the square of the mean of the square roots of steps, weighted by these roots; 0 if nothing moves.
    """
    roots = _sum(times * np.sqrt(steps))
    return (_sum(times * steps) / np.where(roots > 0, roots, 1)) ** 2


def _sum(values: np.ndarray) -> np.ndarray:
    """(N, L) -> (N,), one after the other: zeros at the end change no bit, as they do in numpy's sum by pairs."""
    return values.cumsum(1)[:, -1] if values.shape[1] else np.zeros(len(values))


def motion_losses(steps: np.ndarray, times: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """Square of the share of its block's time in which a segment moves.

    A block that moves throughout loses least where segments are equally long, as in uniform pooling, and is cut into as
    many as any other such block, however fast it moves. Time in which nothing moves loses nothing.

    Args:
        steps: (N, T - 1) distances between the features of neighbouring maps.
        times: (N, T - 1) frames that pass at each step, 0 where a block has ended.
        unit: (N,) squared typical step of each block. A step of MOVES of the typical one or more moves; one that is a
            share s of that moves for s^2 of its time.
    Returns:
        (N, T + 1, T + 1), entry [a, b] for the segment of maps a to b - 1; 0 where b <= a.
    """
    moves = (steps**2 / np.where(unit > 0, unit, 1)[:, None] / MOVES**2).clip(max=1)
    moved = (times * moves).cumsum(1) / np.maximum(times.sum(1), 1)[:, None]
    moved = np.round(moved * ROUNDED) / ROUNDED
    until = np.pad(moved, ((0, 0), (1, 0)))  # (N, T), up to each map
    begin, end = np.pad(until, ((0, 0), (0, 1)), mode="edge"), np.pad(until, ((0, 0), (1, 0)), mode="edge")
    return np.triu((end[:, None, :] - begin[:, :, None]).clip(min=0) ** 2, 1)


Relative = Callable[[np.ndarray], np.ndarray]  # the unit of each block (N,) -> losses (N, T + 1, T + 1) in this unit


def relative_variance(distances: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, Relative]:
    """Return each block's variance, the unit of its losses, and a function that gives `segment_losses` in a unit."""
    losses = segment_losses(distances, sizes) / sizes.sum(1)[:, None, None]
    whole = losses[np.arange(len(sizes)), 0, (sizes > 0).sum(1)]
    return whole, lambda unit: losses / np.where(unit > 0, unit, 1)[:, None, None]


def relative_motion(distances: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, Relative]:
    """Return each block's squared typical step, the unit of its losses, and `motion_losses` as a function of a unit."""
    times = np.where(sizes[:, 1:] > 0, (sizes[:, 1:] + sizes[:, :-1]) / 2, 0)
    steps = np.sqrt(np.diagonal(distances, 1, 1, 2))
    return typical_step(steps, times) ** 2, partial(motion_losses, steps, times)


LOSSES = {"variance": relative_variance, "motion": relative_motion}


def motion_curve(moved: np.ndarray, lengths: np.ndarray, most: int) -> np.ndarray:
    """Motion losses at 1 .. K segments, cuts being anywhere: a smooth curve that depends only on the time of motion.

    Args:
        moved: (N,) loss of each block as one segment, the squared share of time in which it moves.
        lengths: (N,) maps of each block.
        most: K.
    Returns:
        (N, K): m steps of motion in k equal segments, at whose k - 1 borders nothing is lost, lose (m + 1 - k)^2 / k.
    """
    steps = np.maximum(np.asarray(lengths) - 1, 1)[:, None]
    number = np.arange(1, most + 1)
    return (np.sqrt(moved)[:, None] * steps + 1 - number).clip(min=0) ** 2 / number / steps**2


def size_penalty(lengths: np.ndarray, longest: int) -> np.ndarray:
    """(N, T + 1, T + 1) squared share of each segment in its block's maps: least in total for equal segments."""
    place = np.arange(longest + 1)
    maps = (place[None, :] - place[:, None]).clip(min=0)
    return (maps / np.asarray(lengths)[:, None, None]) ** 2


class Cuts:
    """The best cuts of N blocks into 1, 2, .. segments.

    Args:
        costs: (N, T + 1, T + 1), as in segment_losses, to minimise.
        losses: of the same shape, summed along the cuts of least cost.
        lengths: (N,) maps of each block.
        most: largest number of segments; K = min(most, T).
    Attributes:
        curve: (N, K) losses in total at 1 .. K segments, 0 for more segments than maps.
    """

    def __init__(self, costs: np.ndarray, losses: np.ndarray, lengths: np.ndarray, most: int) -> None:
        self._lengths = np.asarray(lengths)
        longest, rows = costs.shape[1] - 1, np.arange(len(costs))
        precedes = np.triu(np.ones((longest + 1, longest + 1), dtype=bool), 1)
        costs = np.where(precedes, costs, np.inf)
        best, lost = costs[:, 0], losses[:, 0]  # (N, T + 1), of the first t maps in one segment
        curve, self._starts = [lost[rows, self._lengths]], []
        for number in range(2, min(most, longest) + 1):
            candidates = best[:, :, None] + costs
            starts = candidates.argmin(1)  # where the last segment of the first t maps begins
            best = np.take_along_axis(candidates, starts[:, None], 1)[:, 0]
            lost = np.take_along_axis(lost[:, :, None] + losses, starts[:, None], 1)[:, 0]
            curve.append(np.where(number <= self._lengths, lost[rows, self._lengths], 0))
            self._starts.append(starts)
        self.curve = np.stack(curve, axis=1)

    def segments(self, counts: np.ndarray) -> np.ndarray:
        """The segment of each map.

        Args:
            counts: (N,) segments of each block, at least 1, at most K and the block's maps.
        Returns:
            (N, T) numbers from 0; maps beyond a block's length are in its last segment.
        """
        rows, ends = np.arange(len(counts)), self._lengths.copy()
        begins = np.zeros((len(counts), max(self._lengths)), dtype=np.int64)
        for number in range(max(counts), 1, -1):
            cut = rows[counts >= number]
            ends[cut] = self._starts[number - 2][cut, ends[cut]]
            begins[cut, ends[cut]] = 1
        return begins.cumsum(1)


def map_weights(members: Tensor, sizes: Tensor, segment_map: str) -> Tensor:
    """Weights of the frames of each segment in the map that it becomes.

    Args:
        members: (..., B', T) bool; of "overlap" the shares of frames.
        sizes: (..., 1, T) frames of the video that each represents, > 0 for members; of the wanted dtype.
        segment_map: "mean" and "overlap": a mean over the frames of the video. "middle": the frame at half of the
            segment's time, of two the later one.
    Returns:
        (..., B', T); they sum to one for each segment with a member.
    """
    own = members * sizes
    total = own.sum(-1, keepdim=True)
    if segment_map == "middle":
        late = members & (own.cumsum(-1) > total / 2)
        return (late & (late.cumsum(-1) == 1)).to(sizes.dtype)
    return own / total.masked_fill(total == 0, 1)


def gains(curve: np.ndarray) -> np.ndarray:
    """What each further segment saves, smoothed so that none saves more than the one before.

    Args:
        curve: (N, K) losses at 1 .. K segments.
    Returns:
        (N, K - 1) steps of the curve's lower convex hull: cutting as long as a step is above a
        threshold gives the number of segments at which loss + threshold x segments is least.
    """
    # step k of the hull is the least, over i <= k, of the largest mean saving from i to j > k segments
    count = curve.shape[1]
    number = np.arange(count)
    span = number[None, :] - number[:, None]  # [i, j]: segments from i to j
    saved = (curve[:, :, None] - curve[:, None, :]) / np.where(span > 0, span, 1)
    most = np.maximum.accumulate(np.where(span > 0, saved, -np.inf)[:, :, ::-1], axis=2)[:, :, ::-1]
    least = np.minimum.accumulate(np.where(span > 0, most, np.inf), axis=1)
    return least[:, number[:-1], number[1:]].clip(min=0)


def update_quantiles(before: np.ndarray, values: np.ndarray, weight: float) -> np.ndarray:
    """Quantiles of a mixture: of what `before` has seen, and of new values with a weight.

    The mean of two batches' quantiles is not a quantile of both: where clips differ much, too few values exceed it.
    The outermost two are the least and the largest value ever seen.

    Args:
        before: (L,) quantiles at levels 0 to 1, evenly spaced; zeros if nothing has been seen.
        values: (V,) new ones, in any order.
        weight: of the new values, in (0, 1]; that of what was seen before is 1 - weight.
    Returns:
        (L,) quantiles at the same levels.
    """
    levels = np.linspace(0, 1, len(before))
    if not before.any():
        return np.quantile(values, levels)
    both = np.concatenate([before, values])
    share = np.full(len(both), weight / len(values))
    share[: len(before)] = (1 - weight) / (len(before) - 1)
    share[[0, len(before) - 1]] /= 2  # the outermost quantiles have values on one side only
    order = np.argsort(both, kind="stable")
    share = share[order]
    return np.interp(levels, np.cumsum(share) - share / 2, both[order])


def counts_above(
    saved: np.ndarray, lengths: np.ndarray, target: float, quantiles: np.ndarray, cuts: float
) -> np.ndarray:
    """(N,) segments of blocks: 1 + the cuts that save more than the quantile for target.

    The quantile is that of training blocks, with `cuts` cuts at most on average, whatever the length of these blocks.
    If nothing has been seen in training, it is the target for every block.
    """
    if not cuts:
        return np.clip(round(target), 1, lengths)
    level = np.clip(1 - (target - 1) / cuts, 0, 1)
    threshold = np.interp(level, np.linspace(0, 1, len(quantiles)), quantiles)
    possible = np.arange(1, saved.shape[1] + 1) < lengths[:, None]
    return 1 + (possible & (saved > threshold * ABOVE)).sum(1)
