"""Which videos a process takes, in which order: functions of the epoch and of nothing before it."""

from collections.abc import Iterator

import numpy as np
import torch


def epoch_order(num_videos: int, *, seed: int, epoch: int) -> np.ndarray:
    """A permutation of the videos, (num_videos,) int64, the same on all ranks."""
    generator = torch.Generator().manual_seed(seed + epoch)
    return torch.randperm(num_videos, generator=generator).numpy()


class TrainBatches:
    """Batch sampler for training: lists of (index, epoch), full ones only, equally many on every rank.

    A rank takes every world_size-th video of the epoch's permutation, so its batch number b, together with those of the
    other ranks, is what one process with the whole batch would take.
    """

    def __init__(self, num_videos: int, batch_size: int, *, rank: int, world_size: int, seed: int) -> None:
        self.num_videos = num_videos
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.num_videos // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch = self.epoch
        mine = epoch_order(self.num_videos, seed=self.seed, epoch=epoch)[self.rank :: self.world_size]
        for batch in mine[: len(self) * self.batch_size].reshape(-1, self.batch_size):
            yield [(int(index), epoch) for index in batch]


def rank_indices(num_videos: int, *, rank: int, world_size: int) -> list[int]:
    """The videos that a rank evaluates: together every video once, none twice."""
    return list(range(rank, num_videos, world_size))
