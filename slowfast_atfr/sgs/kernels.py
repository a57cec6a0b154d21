"""Psi: how much each frame gives to the bin it is in, a pure function of positions and bin centres.

Positions are in bin units u = 2 B Delta / max(Delta): a bin is 2 wide and reaches 1 to either side of its centre.
"""

from collections.abc import Callable

from fvcore.common.registry import Registry
from torch import Tensor

# Every entry: (position (N, T), centers (N, B), members (N, B, T) bool, grad_scale) -> (N, B, T) weights,
# zero outside members.
KERNEL_REGISTRY = Registry("KERNEL")
Kernel = Callable[[Tensor, Tensor, Tensor, float], Tensor]

LINEAR_MEAN_FLOOR = 1e-2  # e of linear_mean


@KERNEL_REGISTRY.register()
def linear(position: Tensor, centers: Tensor, members: Tensor, grad_scale: float) -> Tensor:
    """Triangular weight max(0, 1 - |u - centre|) of each member: the paper's kernel.

    A frame at the border of its bin weighs nothing; so the frame of largest Delta, which is on the border of the last
    bin, is all but lost, and with it a clip whose frames are all alike (see linear_mean).

    Args:
        position: (N, T) u of each frame, in bin units.
        centers: (N, B) centre of each bin, in bin units.
        members: (N, B, T) whether the frame is in the bin.
        grad_scale: not used, the gradient is the true one.
    Returns:
        (N, B, T) weights in [0, 1].
    Source: Fayyaz et al., CVPR 2021, section 3.2; the release adds 1e-7.
    """
    offset = (position[:, None, :] - centers[:, :, None]).abs()
    return (1 - offset).clamp(min=0) * members


@KERNEL_REGISTRY.register()
def delta(position: Tensor, centers: Tensor, members: Tensor, grad_scale: float) -> Tensor:
    """Weight 1 of each member; straight through, the gradient with respect to u is grad_scale.

    Args:
        position: (N, T) u of each frame, in bin units.
        centers: (N, B) centre of each bin; only the shape counts.
        members: (N, B, T) whether the frame is in the bin.
        grad_scale: the gradient of a member's weight with respect to its position.
    Returns:
        (N, B, T) weights, 0 or 1.
    Source: the release of Fayyaz et al., CVPR 2021.
    """
    straight_through = 1 + grad_scale * (position - position.detach())
    return straight_through[:, None, :] * members


@KERNEL_REGISTRY.register()
def linear_mean(position: Tensor, centers: Tensor, members: Tensor, grad_scale: float) -> Tensor:
    """Weighted mean of the members: Psi = (w + e) / sum over the bin of (w + e), w of `linear`, e = 1e-2.

    Weights of a bin sum to one and never jump; a clip whose frames are all alike becomes its mean frame.

    Args:
        position: (N, T) u of each frame, in bin units.
        centers: (N, B) centre of each bin, in bin units.
        members: (N, B, T) whether the frame is in the bin.
        grad_scale: not used, the gradient is the true one.
    Returns:
        (N, B, T) weights in [0, 1]; they sum to one in each bin that has a member.
    """
    raw = linear(position, centers, members, grad_scale) + LINEAR_MEAN_FLOOR * members
    total = raw.sum(dim=2, keepdim=True)
    return raw / total.masked_fill(total == 0, 1)
