"""Segments of one block of frames with tensors only, for torch.export: the counterpart of `segments.py`.

T is a number here, the frames of a clip that no SGS layer has shortened. Sums are in float64, as on the host.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.sgs.overlap import LEAST, PLACES, WIDER
from slowfast_atfr.sgs.segments import ABOVE, LEAST_PENALTY, MOVES, ROUNDED


def cell_means(maps: Tensor, grid: int) -> Tensor:
    """(T, C, H, W) -> (T, C, grid, grid), as F.adaptive_avg_pool2d, by products: ONNX pools to equal cells only."""
    rows, columns = (_cells(side, grid).to(maps) for side in maps.shape[2:])
    return rows @ maps @ columns.mT


def _cells(side: int, grid: int) -> Tensor:
    """(grid, side) weights of the mean of each cell; neighbouring cells overlap where grid does not divide side."""
    weights = torch.zeros(grid, side)
    for cell in range(grid):
        begin, end = cell * side // grid, -(-(cell + 1) * side // grid)
        weights[cell, begin:end] = 1 / (end - begin)
    return weights


def mean_squared_distances(features: Tensor) -> Tensor:
    """(T, F) -> (T, T) between the frames, mean over the features."""
    return (features[:, None] - features[None, :]).square().mean(2)


def segment_losses(distances: Tensor, least: Tensor) -> Tensor:
    """Loss of each segment, as a share of the block's variance.

    Args:
        distances: (T, T) mean squared distances.
        least: () the variance that a static block is taken to have.
    Returns:
        (T + 1, T + 1) float64, entry [a, b] for frames a to b - 1.
    """
    length = distances.shape[0]
    within = F.pad(distances.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    ends = within.diagonal()
    total = ends[None, :] - within - within.mT + ends[:, None]
    place = torch.arange(length + 1, dtype=torch.float64)
    size = (place[None, :] - place[:, None]).clamp(min=1)
    losses = (total / (2 * size)).clamp(min=0).triu(1) / length
    variance = losses[0, length]
    unit = torch.maximum(variance, least.double())
    return losses / torch.where(unit > 0, unit, torch.ones_like(unit))


def motion_losses(distances: Tensor, least: Tensor) -> Tensor:
    """Square of the share of the block's time in which each segment moves; see `segments.motion_losses`.

    Args:
        distances: (T, T) mean squared distances.
        least: () the squared typical step that a static block is taken to have.
    Returns:
        (T + 1, T + 1) float64, entry [a, b] for frames a to b - 1.
    """
    if len(distances) == 1:
        return torch.zeros(2, 2, dtype=torch.float64)
    steps = distances.diagonal(1).double()
    typical = (steps.sqrt().sum() / steps.pow(0.25).sum().clamp(min=torch.finfo(torch.float64).tiny)).square()
    unit = torch.maximum(typical.square(), least.double())
    moves = (steps / torch.where(unit > 0, unit, torch.ones_like(unit)) / MOVES**2).clamp(max=1)
    until = F.pad((moves.cumsum(0) / len(moves) * ROUNDED).round() / ROUNDED, (1, 0))
    begin, end = torch.cat([until, until[-1:]]), torch.cat([until[:1], until])
    return (end[None, :] - begin[:, None]).clamp(min=0).square().triu(1)


def motion_curve(losses: Tensor, most: int) -> Tensor:
    """(most,) motion losses at 1, 2, .. segments; see `segments.motion_curve`. losses: from `motion_losses`."""
    length = losses.shape[0] - 1
    steps = max(length - 1, 1)
    number = torch.arange(1, most + 1, dtype=torch.float64)
    return (losses[0, length].sqrt() * steps + 1 - number).clamp(min=0).square() / number / steps**2


def best_cuts(losses: Tensor, penalty: float, most: int) -> tuple[Tensor, list[Tensor]]:
    """The best cuts of a block into 1 .. K segments, K = min(most, T), as in `Cuts`.

    Args:
        losses: (T + 1, T + 1), from segment_losses or motion_losses.
        penalty: SGS.SIZE_PENALTY.
    Returns:
        (K,) losses in total; for 2 .. K segments (T + 1,), where the last segment of the first t frames begins.
    """
    length = losses.shape[0] - 1
    place = torch.arange(length + 1, dtype=torch.float64)
    share = (place[None, :] - place[:, None]) / length
    costs = (losses + max(penalty, LEAST_PENALTY) * share.square()).masked_fill(share <= 0, torch.inf)
    best, lost, curve, starts = costs[0], losses[0], [losses[0, length]], []
    for _ in range(2, min(most, length) + 1):
        best, start = (best[:, None] + costs).min(0)
        lost = (lost[:, None] + losses).gather(0, start[None])[0]
        curve.append(lost[length])
        starts.append(start)
    return torch.stack(curve), starts


def gains(curve: Tensor) -> Tensor:
    """(K,) losses at 1 .. K segments -> (K - 1,) what each further one saves, smoothed; see `segments.gains`."""
    number = torch.arange(curve.shape[0], dtype=torch.float64)
    span = (number[None, :] - number[:, None]).clamp(min=1)
    saved = (curve[:, None] - curve[None, :]) / span
    steps = [saved[:after, after:].amax(1).amin(0) for after in range(1, curve.shape[0])]
    return torch.stack(steps).clamp(min=0)


def count_of(saved: Tensor, target: float, quantiles: Tensor, cuts: Tensor) -> Tensor:
    """() segments: 1 + the cuts that save more than the quantile for target.

    Args:
        saved: (T - 1,) from `gains`.
        quantiles: (LEVELS,) of what cuts save in training.
        cuts: () that a training block has at most, on average; 0: none has been seen, use the target.
    """
    length, last = saved.shape[0] + 1, quantiles.shape[0] - 1
    level = (1 - (target - 1) / cuts.double().clamp(min=1e-9)).clamp(0, 1) * last
    below = level.floor().clamp(max=last - 1).long()
    low, high = quantiles.double()[torch.stack([below, below + 1])].unbind()
    threshold = low + (high - low) * (level - below)
    counted, fixed = 1 + (saved > threshold * ABOVE).sum(), min(max(round(target), 1), length)
    return torch.where(cuts > 0, counted, torch.full_like(counted, fixed))


def segments_of(starts: Sequence[Tensor], count: Tensor, length: int) -> Tensor:
    """(T,) the segment of each frame, from 0; starts: from `best_cuts`; count: () segments."""
    end, time = torch.full_like(count, length), torch.arange(length)
    begins = torch.zeros(length, dtype=torch.bool)
    for number in range(len(starts) + 1, 1, -1):
        is_cut = count >= number
        end = torch.where(is_cut, starts[number - 2].gather(0, end[None])[0], end)
        begins = begins | ((time == end) & is_cut)
    return begins.long().cumsum(0)


def map_extents(losses: Tensor, count: Tensor, penalty: float) -> Tensor:
    """(T,) extents of a block's frames along its change; see `overlap.map_extents`.

    Args:
        losses: (T + 1, T + 1), from `motion_losses` or `segment_losses`, or a mean of several.
        count: () segments.
        penalty: SGS.SIZE_PENALTY.
    """
    length = losses.shape[0] - 1
    steps = losses.diagonal(2).sqrt()
    extents = (F.pad(steps, (1, 0)) + F.pad(steps, (0, 1))) / 2
    spare = (length - count).clamp(min=1)
    even = ((count * (WIDER * extents.max()) - extents.sum()) / spare).clamp(min=max(LEAST, penalty / length))
    return torch.where(count == length, torch.ones_like(extents), extents + even)


def overlap(extents: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """(T,) extents -> (T,) interval of each frame's middle; (T, T) share of each frame in each of count intervals."""
    until = extents.cumsum(0)
    until = (until / until[-1] * count * PLACES).round() / PLACES
    begin = F.pad(until[:-1], (1, 0))
    middle = torch.minimum(((begin + until) / 2).floor().long(), count - 1)
    number = torch.arange(len(extents), dtype=extents.dtype)[:, None]
    common = torch.minimum(until, number + 1) - torch.maximum(begin, number)
    return middle, (common / (until - begin)).clamp(min=0)


def finer(members: Tensor, ratio: int) -> Tensor:
    """Divide each segment of T slow frames into `ratio` of fast ones: (B', T) bool -> (ratio B', ratio T) bool."""
    size = members.sum(1)
    begin = size.cumsum(0) - size
    count = members.shape[0]
    own = (members * torch.arange(count)[:, None]).sum(0)  # (T,)
    time = torch.arange(members.shape[1] * ratio)
    slow = own.repeat_interleave(ratio)
    place = torch.div(time - ratio * begin[slow], size[slow], rounding_mode="floor")
    return (ratio * slow + place)[None, :] == torch.arange(ratio * count)[:, None]
