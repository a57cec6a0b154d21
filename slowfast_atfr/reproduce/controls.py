"""Controls that similarity has to beat: merging that does not look at the frames. As similarities, so that all else of
SGS stays as it is; with the kernel delta_normalized a bin is the plain mean of its frames."""

import torch
from torch import Tensor

from slowfast_atfr.sgs import SIMILARITY_REGISTRY
from slowfast_atfr.sgs.similarity import Coordinates


def register_controls() -> None:
    """Enter the controls in SIMILARITY_REGISTRY, for the configs of a study; nobody else finds them there."""
    for control in (uniform_time, random_order):
        if control.__name__ not in SIMILARITY_REGISTRY:
            SIMILARITY_REGISTRY.register(control)


def uniform_time(embeddings: Tensor, real: Tensor) -> Coordinates:
    """The frame's time in its block, so that bins are stretches of equal length: average pooling along time.

    Args:
        embeddings: (N, T, L); only whether they are finite counts, and their gradient is zero.
        real: (N, T) which frames exist.
    Returns:
        K = 1, the middle of each frame's time in [0, 1].
    """
    time = torch.arange(embeddings.shape[1], device=embeddings.device, dtype=embeddings.dtype)
    return _in_blocks(time.expand(real.shape), embeddings, real)


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
    return _in_blocks(ranks.to(embeddings.dtype), embeddings, real)


def _in_blocks(places: Tensor, embeddings: Tensor, real: Tensor) -> Coordinates:
    """Places 0, 1, .. of a block's frames as shares of its length; what is not finite stays so."""
    share = (places + 0.5) / real.sum(dim=1, keepdim=True)
    return Coordinates(share.clamp(max=1)[..., None] + 0 * embeddings.sum(dim=-1, keepdim=True), (1.0,))
