"""Non-local blocks: every position of a clip attends to all positions of the same clip, over space and time.

Source: Wang et al., Non-local Neural Networks, CVPR 2018. Parameter names, and what "dot_product" and "softmax" mean,
are PySlowFast's.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from slowfast_atfr.models.norm import Norm
from slowfast_atfr.models.stages import NonlocalSpec
from slowfast_atfr.packed import PackedClips, from_frames, lengths_of, per_length, to_dense, to_frames
from slowfast_atfr.utils.exporting import is_exporting


def softmax_attention(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """softmax(theta phi' / sqrt(C)) g.

    Args:
        theta: (..., P, C), the positions that attend.
        phi, g: (..., Q, C), the positions that are attended to.
    Returns:
        (..., P, C).
    """
    scores = (theta * theta.shape[-1] ** -0.5) @ phi.mT  # scales (P, C), not (P, Q)
    return scores.softmax(-1) @ g


def dot_product_attention(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """theta phi' g / Q, in the order with fewer multiply-adds.

    (theta phi') g takes 2 P Q C of them and P x Q numbers of memory, theta (phi' g) (P + Q) C^2 and C x C. An exported
    network uses the second order: P and Q may be symbols there.

    Args and returns: as for softmax_attention.
    """
    queries, (positions, channels) = theta.shape[-2], phi.shape[-2:]
    phi = phi / positions  # before the sum over Q, which could overflow in half precision
    if is_exporting() or (queries + positions) * channels < 2 * queries * positions:
        return theta @ (phi.mT @ g)
    return (theta @ phi.mT) @ g


ATTENTIONS = {"dot_product": dot_product_attention, "softmax": softmax_attention}  # by NONLOCAL.INSTANTIATION


def pool_of(sizes: tuple[int, int, int]) -> nn.Module:
    """The layer of NONLOCAL.POOL."""
    return nn.MaxPool3d(sizes) if max(sizes) > 1 else nn.Identity()


class Nonlocal(nn.Module):
    """x + bn(conv_out(attention)): (N, C, T, H, W), dense or packed, to the same.

    A clip attends to its own positions only and divides by their number. With NONLOCAL.GROUP g its frames are cut into
    g runs of T / g, each attending to itself. NONLOCAL.POOL reduces the positions that are attended to.

    Raises:
        ValueError: in forward, if the runs or the pool do not fit a clip; names the block, the clip and its length, or
            the size of its maps.
    """

    def __init__(self, spec: NonlocalSpec, *, norm: Norm) -> None:
        super().__init__()
        dim_inner = spec.dim // 2
        self.label, self.group = f"s{spec.stage}.{spec.name}", spec.group
        self.pool_frames, *self.pool_sides = spec.pool
        self.attention = ATTENTIONS[spec.instantiation]
        self.conv_theta = nn.Conv3d(spec.dim, dim_inner, 1)
        self.conv_phi = nn.Conv3d(spec.dim, dim_inner, 1)
        self.conv_g = nn.Conv3d(spec.dim, dim_inner, 1)
        self.conv_out = nn.Conv3d(dim_inner, spec.dim, 1)
        self.bn = norm(spec.dim)
        self.pool = pool_of(spec.pool)

    @property
    def final_bn(self) -> nn.Module:
        """The norm whose weight RESNET.ZERO_INIT_FINAL_BN starts at zero."""
        return self.bn

    def forward(self, x: Tensor | PackedClips) -> Tensor | PackedClips:
        self._check_lengths(lengths_of(x))
        self._check_sides(x.shape[3:])
        pooled = self._pool(x)
        attended = per_length(self.conv_theta(x), self._attend, self.conv_phi(pooled), self.conv_g(pooled))
        return x + self.bn(self.conv_out(attended))

    def product_macs(self, frames: int, height: int, width: int) -> int:
        """Return the multiply-adds of the attention within a clip of (height, width) maps, without the convolutions."""
        run, channels, values = frames // self.group, self.conv_phi.out_channels, self.conv_g.out_channels
        queries = run * height * width
        positions = (run // self.pool_frames) * (height // self.pool_sides[0]) * (width // self.pool_sides[1])
        if self.attention is dot_product_attention and (queries + positions) * channels < 2 * queries * positions:
            return self.group * (queries + positions) * channels * values
        return self.group * queries * positions * (channels + values)

    def _pool(self, x: Tensor | PackedClips) -> Tensor | PackedClips:
        if self.group == 1 or self.pool_frames == 1:
            return self.pool(x)
        frames, lengths = to_frames(x)  # no pool window crosses from one run into the next
        runs = [length // self.group for length in lengths for _ in range(self.group)]
        frames, runs = to_frames(self.pool(from_frames(frames, runs)))
        pooled = from_frames(frames, [run * self.group for run in runs[:: self.group]])
        return pooled if isinstance(x, PackedClips) else to_dense(pooled)

    def _attend(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """Clips of one length: theta (n, C, T, H, W), phi and g (n, C, T', H', W') -> (n, C, T, H, W)."""
        rows = (x.permute(0, 2, 3, 4, 1).flatten(1, 3).unflatten(1, (self.group, -1)) for x in (theta, phi, g))
        out = self.attention(*rows)  # (n, group, T*H*W / group, C)
        return out.flatten(1, 2).unflatten(1, theta.shape[2:]).permute(0, 4, 1, 2, 3)

    def _check_lengths(self, lengths: tuple[int, ...]) -> None:
        for index, length in enumerate(lengths):
            if length % self.group:
                raise ValueError(
                    f"{self.label}: clip {index} of {len(lengths)} has {length} frames, which NONLOCAL.GROUP "
                    f"{self.group} does not divide; choose group 1, or put SGS after this block"
                )
            if length // self.group < self.pool_frames:
                raise ValueError(
                    f"{self.label}: clip {index} of {len(lengths)} has {length} frames in {self.group} run(s), fewer "
                    f"than the {self.pool_frames} frames of NONLOCAL.POOL; choose a pool of 1 in time, or put "
                    "SGS after this block"
                )

    def _check_sides(self, sides: Sequence[int]) -> None:
        if any(side < size for side, size in zip(sides, self.pool_sides, strict=True)):
            raise ValueError(
                f"{self.label}: maps are {sides[0]}x{sides[1]}, too small for NONLOCAL.POOL, "
                f"{self.pool_sides[0]}x{self.pool_sides[1]}; choose a smaller pool, or a larger crop"
            )
