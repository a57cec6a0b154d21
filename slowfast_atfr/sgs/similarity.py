"""Delta: the position of each frame on the axes that bins divide, pure functions of a block's embeddings.

Every entry of SIMILARITY_REGISTRY is a function (embeddings (N, T, L) float, real (N, T) bool) -> Coordinates. `real`
marks the frames of blocks that are shorter than T; the embeddings of the others are zero. All gradients are finite,
at zero vectors, poles and static clips too. Scaling all embeddings of a block scales lengths, which cancels in the
bins, and does not change angles, as long as vectors stay longer than sqrt(TINY) = 1e-6: shorter ones have no direction.

Z_t is the embedding of frame t and m the mean embedding of its block. Differences below the rounding error of the
embeddings (ROUNDING) are zero: a static clip has none, however its maps and mean were rounded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from fvcore.common.registry import Registry
from torch import Tensor

SIMILARITY_REGISTRY = Registry("SIMILARITY")

ROUNDING = 64  # units in the last place of the largest value up to which a difference counts as zero
SHRINKAGE = 0.1  # share of the isotropic covariance in mean_mahalanobis
TINY = 1e-12  # squared length below which a vector has no direction


@dataclass(frozen=True)
class Coordinates:
    """Positions of frames on K axes.

    values: (N, T, K), >= 0 for real frames; the others may hold anything finite.
    extents: for each axis where it ends (it begins at 0); None ends it at the block's own largest value.
    """

    values: Tensor
    extents: tuple[float | None, ...] = (None,)

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.shape[-1] != len(self.extents):
            raise ValueError(
                f"coordinates are (N, T, K) with an extent for each of the K axes, got values of shape "
                f"{tuple(self.values.shape)} and {len(self.extents)} extent(s)"
            )


Similarity = Callable[[Tensor, Tensor], Coordinates]


@SIMILARITY_REGISTRY.register()
def magnitude(embeddings: Tensor, real: Tensor) -> Coordinates:
    """Length of each embedding, |Z_t|, in [0, max_t |Z_t|]: the paper's similarity.

    Args:
        embeddings: (N, T, L) embedding of each frame.
        real: (N, T) which frames exist; here it changes nothing.
    Returns:
        K = 1; the gradient at a zero vector is zero.
    Source: Fayyaz et al., CVPR 2021, section 5.2.1.
    """
    return Coordinates(embeddings.norm(dim=-1, keepdim=True))


@SIMILARITY_REGISTRY.register()
def mean_l2(embeddings: Tensor, real: Tensor) -> Coordinates:
    """Euclidean distance to the block's mean embedding, |Z_t - m|_2, in [0, max_t].

    Two frames always have the same distance from their mean: with blocks of 2 every distance to the mean gives one bin.

    Args: as for `magnitude`; the mean is over real frames.
    Returns:
        K = 1; the gradient at the mean is zero.
    Source: the release of Fayyaz et al., CVPR 2021.
    """
    return Coordinates(_from_mean(embeddings, real).norm(dim=-1, keepdim=True))


@SIMILARITY_REGISTRY.register()
def mean_l1(embeddings: Tensor, real: Tensor) -> Coordinates:
    """City-block distance to the block's mean embedding, sum_l |Z_tl - m_l|, in [0, max_t]. Otherwise as `mean_l2`."""
    return Coordinates(_from_mean(embeddings, real).abs().sum(dim=-1, keepdim=True))


@SIMILARITY_REGISTRY.register()
def mean_cosine(embeddings: Tensor, real: Tensor) -> Coordinates:
    """Cosine distance to the block's mean embedding, 1 - cos(Z_t, m), in [0, 2]; bins divide [0, max_t].

    Computed as |Z_t / |Z_t| - m / |m||^2 / 2, which is accurate for small angles. A vector shorter than
    sqrt(TINY) has no direction: it is at distance 1 from everything, with gradient zero.

    Args: as for `magnitude`; the mean is over real frames.
    Returns:
        K = 1.
    Source: the release of Fayyaz et al., CVPR 2021.
    """
    mean = _mean(embeddings, real)
    (unit, has_direction), (mean_unit, mean_has_direction) = _unit(embeddings), _unit(mean)
    difference = _without_noise(unit - mean_unit, torch.ones_like(mean)).square().sum(dim=-1, keepdim=True) / 2
    return Coordinates(torch.where(has_direction & mean_has_direction, difference, 1))


@SIMILARITY_REGISTRY.register()
def mean_mahalanobis(embeddings: Tensor, real: Tensor) -> Coordinates:
    """Mahalanobis distance to the block's mean embedding, sqrt((Z_t - m)^T C^-1 (Z_t - m)), in [0, max_t].

    The covariance of T <= L frames is singular, and its pseudo-inverse gives all of them one distance. So it is shrunk
    towards an isotropic one: C = (1 - s) S + s tr(S) / L, with S the covariance of the block's frames (divided by
    their number) and s = SHRINKAGE. That bounds its condition number and keeps the distance independent of scale.

    Args: as for `magnitude`; mean and covariance are over real frames.
    Returns:
        K = 1; a static block is at distance zero throughout.
    Source: the release of Fayyaz et al., CVPR 2021; shrinkage after Ledoit and Wolf, 2004.
    """
    difference = _from_mean(embeddings, real)
    unit = difference.detach().abs().amax(dim=(1, 2), keepdim=True)
    difference = difference / torch.where(unit > 0, unit, 1)  # changes neither the distance nor its gradient
    num_dims = difference.shape[-1]
    covariance = difference.mT @ difference / real.sum(1)[:, None, None]  # (N, L, L)
    spread = covariance.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    identity = torch.eye(num_dims, dtype=spread.dtype, device=spread.device)
    shrunk = (1 - SHRINKAGE) * covariance + torch.where(spread > 0, SHRINKAGE * spread, 1) * identity
    factor, _ = torch.linalg.cholesky_ex(shrunk)
    white = torch.linalg.solve_triangular(factor, difference.mT, upper=False)  # (N, L, T)
    return Coordinates(white.mT.norm(dim=-1, keepdim=True))


@SIMILARITY_REGISTRY.register()
def path(embeddings: Tensor, real: Tensor) -> Coordinates:
    """Share of the embedding's path length in its block: (|Z_1 - Z_0| / 2 + sum_{s<t} |Z_{s+1} - Z_s|) / total.

    Half a step is added at each end, so that each frame is in the middle of its own interval. Path length never
    decreases, so a bin is a run of neighbouring frames, shorter where more changes, and bins are in order of time. With
    constant change bins are equally long: average pooling along time, with a kernel that takes means.

    Args: as for `magnitude`.
    Returns:
        K = 1, in [0, 1]; a static block is at zero throughout, with gradient zero.
    Source: ours.
    """
    if embeddings.shape[1] == 1:
        return Coordinates(0 * embeddings[..., :1], (1.0,))
    steps = _without_noise(embeddings.diff(dim=1), _largest(embeddings)).norm(dim=-1, keepdim=True)
    steps = steps.masked_fill(~real[:, 1:, None], 0)
    way = torch.cat([torch.zeros_like(steps[:, :1]), steps.cumsum(dim=1)], dim=1)
    last_step = (real.sum(dim=1) - 2).clamp(min=0)[:, None, None]
    before, after = steps[:, :1] / 2, steps.gather(1, last_step) / 2
    total = before + way[:, -1:] + after
    return Coordinates((before + way) / total.masked_fill(total == 0, 1), (1.0,))


@SIMILARITY_REGISTRY.register()
def uniform_time(embeddings: Tensor, real: Tensor) -> Coordinates:
    """The frame's time in its block, so that bins are runs of equal length: average pooling along time.

    Args:
        embeddings: (N, T, L); used only to detect values that are not finite; their gradient is zero.
        real: (N, T) which frames exist.
    Returns:
        K = 1, the middle of each frame's time in [0, 1].
    """
    time = torch.arange(embeddings.shape[1], device=embeddings.device, dtype=embeddings.dtype)
    return in_equal_bins(time.expand(real.shape), embeddings, real)


@SIMILARITY_REGISTRY.register()
def cartesian(embeddings: Tensor, real: Tensor) -> Coordinates:
    """All L coordinates of the embedding, each counted from the block's smallest: Z_tl - min_t Z_tl, in [0, max_t].

    Args: as for `magnitude`.
    Returns:
        K = L: bins are cells of an L-dimensional grid.
    Source: the supplement of Fayyaz et al., section D, names these coordinates and has their bins, Eq. 1; the offset is
        ours, since coordinates can be negative.
    """
    smallest = embeddings.masked_fill(~real[..., None], float("inf")).amin(dim=1, keepdim=True)
    values = _without_noise(embeddings - smallest, _largest(embeddings))
    return Coordinates(values.clamp(min=0), (None,) * embeddings.shape[-1])


@SIMILARITY_REGISTRY.register()
def spherical(embeddings: Tensor, real: Tensor, *, coordinates: str = "all") -> Coordinates:
    """Spherical coordinates of the embedding: radius r and angles phi_1 .. phi_{L-1}.

    With t_i = |(Z_{i+1}, .., Z_L)|: r = |Z|, phi_i = atan2(t_i, Z_i) in [0, pi] for i = 1 .. L-2, and
    phi_{L-1} = atan2(Z_L, Z_{L-1}) in [0, 2 pi]. Bins divide [0, max_t r] and the full ranges of the angles. An angle
    of a vector of (nearly) zero length is 0, with gradient zero; the last one jumps from 2 pi to 0, so frames to either
    side of that seam fall into different bins.

    Args:
        embeddings, real: as for `magnitude`; L >= 2, except for "radial".
        coordinates: "all" is (r, phi_1, ..), K = L; "angular" the angles, K = L - 1; "radial" r alone, K = 1, which is
            `magnitude`.
    Source: the supplement of Fayyaz et al., section D; the fixed ranges of the angles are ours.
    """
    radius = embeddings.norm(dim=-1, keepdim=True)
    if coordinates == "radial":
        return Coordinates(radius)
    squares = embeddings.square()
    tails = squares.flip(-1).cumsum(-1).flip(-1)[..., 1:-1]  # t_i^2 for i = 1 .. L-2
    has_tail = tails > TINY
    tails = torch.where(has_tail, tails, 1).sqrt() * has_tail
    polar = _angle(tails, embeddings[..., :-2])
    last = _angle(embeddings[..., -1:], embeddings[..., -2:-1])
    last = torch.where(last < 0, last + 2 * pi, last)
    extents = (*(pi,) * polar.shape[-1], 2 * pi)
    if coordinates == "angular":
        return Coordinates(torch.cat([polar, last], -1), extents)
    return Coordinates(torch.cat([radius, polar, last], -1), (None, *extents))


def in_equal_bins(places: Tensor, embeddings: Tensor, real: Tensor) -> Coordinates:
    """Indices 0, 1, .. of a block's frames as shares of its length; NaN where an embedding is not finite."""
    share = (places + 0.5) / real.sum(dim=1, keepdim=True)
    return Coordinates(share.clamp(max=1)[..., None] + 0 * embeddings.sum(dim=-1, keepdim=True), (1.0,))


def _angle(opposite: Tensor, adjacent: Tensor) -> Tensor:
    """atan2; 0 with a gradient of zero where both arguments are nearly zero."""
    small = opposite.square() + adjacent.square() <= TINY
    return torch.atan2(opposite.masked_fill(small, 0), adjacent.masked_fill(small, 1))


def _mean(embeddings: Tensor, real: Tensor) -> Tensor:
    """(N, 1, L) mean over real frames; the others are zero."""
    return embeddings.sum(dim=1, keepdim=True) / real.sum(1)[:, None, None]


def _from_mean(embeddings: Tensor, real: Tensor) -> Tensor:
    """(N, T, L) difference from the mean, zero where the block has ended."""
    difference = _without_noise(embeddings - _mean(embeddings, real), _largest(embeddings))
    return difference.masked_fill(~real[..., None], 0)


def _largest(embeddings: Tensor) -> Tensor:
    """(N, 1, 1) largest absolute value, one for all coordinates: a small coordinate may be the noise of a large one."""
    return embeddings.detach().abs().amax(dim=(1, 2), keepdim=True)


def _without_noise(difference: Tensor, size: Tensor) -> Tensor:
    """Set differences to zero that are within the rounding error of values as large as `size`."""
    return difference.masked_fill(difference.detach().abs() <= ROUNDING * torch.finfo(size.dtype).eps * size, 0)


def _unit(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """(..., L) -> unit vectors, zero for those without a direction; (..., 1) whether it has one."""
    square = vectors.square().sum(dim=-1, keepdim=True)
    has_direction = square > TINY
    return vectors * torch.where(has_direction, square, 1).rsqrt() * has_direction, has_direction
