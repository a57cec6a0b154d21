"""Batch norm over parts of a batch: a large batch gets the statistics of small ones (sub batch norm)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from slowfast_atfr.utils.upload import to_device


def rows_of_splits(lengths: Sequence[int], num_splits: int, *, values_per_row: int = 1) -> list[np.ndarray]:
    """Return the rows of each split: clip i is in split i % num_splits, with all its rows.

    Args:
        lengths: rows of each clip; clips are end to end.
        num_splits: reduced to the number of clips, and further if a split would have a single value, without variance.
        values_per_row: per channel.
    Source: PySlowFast's `SubBatchNorm3d` assigns clips in the same way.
    """
    for count in range(min(num_splits, len(lengths)), 0, -1):
        split_of_row = np.repeat(np.arange(len(lengths)) % count, lengths)
        splits = [np.flatnonzero(split_of_row == split) for split in range(count)]
        if min(map(len, splits)) * values_per_row > 1:
            break
    return splits


def split_batch_norm(
    values: Tensor, splits: Sequence[np.ndarray], weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each split by its own mean and variance.

    Args:
        values: (R, ..., C), channels last.
        splits: rows of each, together every row once.
        weight, bias: (C,).
        eps: added to the variances.
    Returns:
        (R, ..., C) as values; (C,) mean of all values; (C,) unbiased variance within a split, the mean over splits by
        their numbers of values. Both without gradient.
    Raises:
        ValueError: if a split has a single value of a channel.
    """
    parts, means, variances, counts = [], [], [], []
    for rows in splits:
        mean, var = torch.zeros_like(weight.detach()), torch.zeros_like(weight.detach())
        part = values.index_select(0, to_device(torch.from_numpy(rows), values.device)).movedim(-1, 1)
        out = F.batch_norm(part, mean, var, weight, bias, training=True, momentum=1.0, eps=eps)  # fills mean and var
        parts.append(out.movedim(1, -1))
        means.append(mean), variances.append(var), counts.append(part.numel() // part.shape[1])
    shares = to_device(torch.tensor(counts, dtype=weight.dtype).div_(sum(counts)), weight.device)
    mean, var = (shares @ torch.stack(each) for each in (means, variances))
    order = to_device(torch.from_numpy(np.argsort(np.concatenate(splits))), values.device)
    return torch.cat(parts).index_select(0, order), mean, var
