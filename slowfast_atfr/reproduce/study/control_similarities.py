"""Controls for the accuracy study, as similarities, so that the rest of SGS is unchanged: random merging, which with
the kernel delta_normalized is the plain mean of each bin's frames, bins of equal size by rank, and magnitude without a
gradient."""

import torch
from torch import Tensor

from slowfast_atfr.sgs import SIMILARITY_REGISTRY
from slowfast_atfr.sgs.similarity import Coordinates, in_equal_bins, magnitude


def register_controls() -> None:
    """Register the controls in SIMILARITY_REGISTRY, for the study only."""
    for control in (random_order, magnitude_rank, magnitude_without_gradient):
        if control.__name__ not in SIMILARITY_REGISTRY:
            SIMILARITY_REGISTRY.register(control)


def magnitude_rank(embeddings: Tensor, real: Tensor) -> Coordinates:
    """Rank of each embedding's length in its block: bins of equal size, of frames with neighbouring lengths.

    The gradient is zero, so the embedding does not learn. Args and returns: as for `uniform_time`.
    """
    ranks = embeddings.norm(dim=-1).masked_fill(~real, torch.inf).argsort(dim=1).argsort(dim=1)
    return in_equal_bins(ranks.to(embeddings.dtype), embeddings, real)


def magnitude_without_gradient(embeddings: Tensor, real: Tensor) -> Coordinates:
    """`magnitude`, through which no gradient reaches the embedding or the layers before it."""
    return magnitude(embeddings.detach(), real)


def random_order(embeddings: Tensor, real: Tensor) -> Coordinates:
    """As `uniform_time` on shuffled frames of each block: bins of equal size, of any frames.

    With gradients the order is drawn anew each time. Without, it depends on the length of the block only, so that a
    clip does not depend on its batch.

    Args and returns: as for `uniform_time`.
    """
    shape = real.shape
    if torch.is_grad_enabled():
        drawn = torch.rand(shape, device=embeddings.device)
    else:
        drawn = torch.rand(shape[1], generator=torch.Generator().manual_seed(0)).to(embeddings.device).expand(shape)
    ranks = drawn.masked_fill(~real, 2).argsort(dim=1).argsort(dim=1)
    return in_equal_bins(ranks.to(embeddings.dtype), embeddings, real)
