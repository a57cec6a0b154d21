"""Top-k accuracy as counts, so that sums over batches and processes are exact."""

from collections.abc import Sequence

import torch
from torch import Tensor


def topk_correct(scores: Tensor, labels: Tensor, ks: Sequence[int]) -> list[Tensor]:
    """Count the clips whose label is among the k best scores.

    Args:
        scores: (N, K), one row per clip.
        labels: (N,) class indices.
        ks: each from 1 to K.
    Returns:
        for each k a 0-d integer tensor on the device of the scores.
    Raises:
        ValueError: for wrong shapes or an invalid k.
    """
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"expected scores (N, K) and labels (N,), got {tuple(scores.shape)} and {tuple(labels.shape)}")
    if not ks or min(ks) < 1 or max(ks) > scores.shape[1]:
        raise ValueError(
            f"top-k with k in {tuple(ks)} of {scores.shape[1]} classes; each k is from 1 to the number of classes"
        )
    best = torch.topk(scores, max(ks), dim=1).indices  # (N, k), best first
    hits = best == labels[:, None]
    return [hits[:, :k].sum() for k in ks]
