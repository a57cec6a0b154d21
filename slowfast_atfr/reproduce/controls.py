"""A control that similarity has to beat: random merging. It is a similarity, so that all else of SGS stays the same;
with the kernel delta_normalized a bin is the plain mean of its frames."""

import torch
from torch import Tensor

from slowfast_atfr.sgs import SIMILARITY_REGISTRY
from slowfast_atfr.sgs.similarity import Coordinates, in_equal_bins


def register_controls() -> None:
    """Enter random_order in SIMILARITY_REGISTRY, for the configs of a study; nobody else finds it there."""
    if random_order.__name__ not in SIMILARITY_REGISTRY:
        SIMILARITY_REGISTRY.register(random_order)


def random_order(embeddings: Tensor, real: Tensor) -> Coordinates:
    """As `uniform_time`, with the frames of each block shuffled before: bins of equal size, of any frames.

    Where gradients are taken the order is drawn anew each time, else it is one and the same for every block of a
    length, so that a clip does not depend on its batch.

    Args and returns: as for `uniform_time`.
    """
    shape = real.shape
    if torch.is_grad_enabled():
        drawn = torch.rand(shape, device=embeddings.device)
    else:
        drawn = torch.rand(shape[1], generator=torch.Generator().manual_seed(0)).to(embeddings.device).expand(shape)
    ranks = drawn.masked_fill(~real, 2).argsort(dim=1).argsort(dim=1)
    return in_equal_bins(ranks.to(embeddings.dtype), embeddings, real)
