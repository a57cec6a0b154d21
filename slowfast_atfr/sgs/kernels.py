"""Psi: the weight of each frame in its bin, pure functions of its offset from the bin's centre.

Offsets are u - centre in bin units, u = 2 B Delta / extent: a bin is 2 wide, and its members have offsets in [-1, 1].
With K coordinates the weight of a frame is the product over them (the supplement's Eq. 1).
"""

import functools
from collections.abc import Callable

import torch
from fvcore.common.registry import Registry
from torch import Tensor

# Every entry: (offset (N, T, K), members (N, B', T) bool, grad_scale) -> (N, B', T) weights, zero outside members.
# A frame is a member of one bin, from whose centre its offset is.
KERNEL_REGISTRY = Registry("KERNEL")
Kernel = Callable[[Tensor, Tensor, float], Tensor]

LINEAR_MEAN_FLOOR = 1e-2  # e of linear_mean


@KERNEL_REGISTRY.register()
def linear(offset: Tensor, members: Tensor, grad_scale: float) -> Tensor:
    """Triangular weight of each member, max(0, 1 - |offset|): the paper's kernel.

    A frame at the border of its bin has weight zero. That includes the frame of largest Delta, at the border of the
    last bin, and so a whole clip whose frames are all alike (see linear_mean).

    Args:
        offset: (N, T, K) of each frame from the centre of its bin, in bin units.
        members: (N, B', T) whether the frame is in the bin.
        grad_scale: not used, the gradient is the true one.
    Returns:
        (N, B', T) weights in [0, 1].
    Source: Fayyaz et al., CVPR 2021, section 4.2. The release adds 1e-7 to every member's weight; we do not.
    """
    return _triangle(offset) * members


@KERNEL_REGISTRY.register()
def linear_normalized(offset: Tensor, members: Tensor, grad_scale: float) -> Tensor:
    """`linear`, divided by the number of members of the bin.

    Args and returns: as for `linear`.
    Source: the release of Fayyaz et al., whose backward pass omits the division; ours does not.
    """
    return linear(offset, members, grad_scale) / _count(members)


@KERNEL_REGISTRY.register()
def delta(offset: Tensor, members: Tensor, grad_scale: float) -> Tensor:
    """Weight 1 of each member; straight through, its gradient with respect to each coordinate of u is grad_scale.

    The weight does not depend on u, so its true gradient would be zero, and the embedding would never learn.

    Args:
        offset: (N, T, K) of each frame from the centre of its bin; only for the gradient.
        members: (N, B', T) whether the frame is in the bin.
        grad_scale: d weight / d u of a member.
    Returns:
        (N, B', T) weights, 0 or 1.
    Source: the release of Fayyaz et al., CVPR 2021.
    """
    straight_through = 1 + grad_scale * (offset - offset.detach())
    return _product(straight_through) * members


@KERNEL_REGISTRY.register()
def delta_normalized(offset: Tensor, members: Tensor, grad_scale: float) -> Tensor:
    """`delta`, divided by the number of members of the bin: each output is the plain mean of its frames.

    Args and returns: as for `delta`; the straight-through gradient is divided as well.
    Source: the release of Fayyaz et al., CVPR 2021.
    """
    return delta(offset, members, grad_scale) / _count(members)


@KERNEL_REGISTRY.register()
def linear_mean(offset: Tensor, members: Tensor, grad_scale: float) -> Tensor:
    """Weighted mean of the members: Psi = (w + e) / sum over the bin of (w + e), w of `linear`, e = 1e-2.

    Weights of a bin sum to one and never jump; a clip whose frames are all alike becomes its mean frame.

    Args: as for `linear`.
    Returns:
        (N, B', T) weights in [0, 1]; they sum to one in each bin that has a member.
    """
    raw = (_triangle(offset) + LINEAR_MEAN_FLOOR) * members
    total = raw.sum(dim=2, keepdim=True)
    return raw / total.masked_fill(total == 0, 1)


def _triangle(offset: Tensor) -> Tensor:
    """(N, T, K) -> (N, 1, T)."""
    return _product((1 - offset.abs()).clamp(min=0))


def _product(factors: Tensor) -> Tensor:
    """(N, T, K) -> (N, 1, T), the product over coordinates; the gradient of torch's own waits for the device."""
    return functools.reduce(torch.mul, factors.unbind(-1))[:, None, :]


def _count(members: Tensor) -> Tensor:
    """(N, B', 1) members of each bin, 1 where there is none."""
    return members.sum(dim=2, keepdim=True).clamp(min=1)
