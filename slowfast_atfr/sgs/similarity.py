"""Delta: the position of each frame on the axis that bins divide, a pure function of the block's embeddings."""

from collections.abc import Callable

from fvcore.common.registry import Registry
from torch import Tensor

# Every entry: (embeddings (N, T, L) float, real (N, T) bool) -> (N, T) positions >= 0.
# `real` marks the frames of blocks that are shorter than T; what stands at the others is ignored.
SIMILARITY_REGISTRY = Registry("SIMILARITY")
Similarity = Callable[[Tensor, Tensor], Tensor]


@SIMILARITY_REGISTRY.register()
def magnitude(embeddings: Tensor, real: Tensor) -> Tensor:
    """Length of each frame's embedding, |Z_t|: the paper's similarity.

    Args:
        embeddings: (N, T, L) embedding of each frame.
        real: (N, T) which frames exist; the others may hold anything.
    Returns:
        (N, T) positions >= 0; the gradient at a zero vector is zero.
    Source: Fayyaz et al., CVPR 2021, section 3.2.
    """
    return embeddings.norm(dim=-1)
