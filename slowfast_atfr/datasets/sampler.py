"""Which videos a process takes and in which order, as functions of the epoch alone."""

from collections.abc import Iterator, Sequence
from itertools import cycle

import numpy as np
import torch


def epoch_order(num_videos: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return a permutation of the videos, (num_videos,) int64, equal on all ranks."""
    generator = torch.Generator().manual_seed(seed + epoch)
    return torch.randperm(num_videos, generator=generator).numpy()


class TrainBatches:
    """Batch sampler for training: lists of (index, epoch), full batches only, the same number on every rank.

    A rank takes every world_size-th video of the epoch's permutation, so batch b of all ranks together is batch b of a
    single process.

    Args:
        num_videos: of the data set.
        batch_sizes: clips in successive batches of this rank, in turn.
        rank, world_size: of this process.
        seed: of the permutations.
        crops: in pixels, one for each of batch_sizes; items are then (index, epoch, crop).
    """

    def __init__(
        self,
        num_videos: int,
        batch_sizes: Sequence[int],
        *,
        rank: int,
        world_size: int,
        seed: int,
        crops: Sequence[int] = (),
    ) -> None:
        self.num_videos = num_videos
        self.rank = rank
        self.world_size = world_size
        self.seed = seed
        self.crops = tuple(crops)
        self.sizes = tuple(_in_turn(batch_sizes, num_videos // world_size))  # of the batches of an epoch
        self.epoch = 0
        self.first = 0  # first batch of the next iteration

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[list[tuple[int, ...]]]:
        epoch, first = self.epoch, self.first
        mine = epoch_order(self.num_videos, seed=self.seed, epoch=epoch)[self.rank :: self.world_size]
        ends = np.cumsum(self.sizes, dtype=np.int64)
        for number in range(first, len(self)):
            crop = (self.crops[number % len(self.crops)],) if self.crops else ()
            yield [(int(index), epoch, *crop) for index in mine[ends[number] - self.sizes[number] : ends[number]]]


def _in_turn(batch_sizes: Sequence[int], num_videos: int) -> Iterator[int]:
    """Yield the sizes in turn until the next batch would not be full."""
    for size in cycle(batch_sizes):
        if size > num_videos:
            return
        yield size
        num_videos -= size


def rank_indices(num_videos: int, *, rank: int, world_size: int) -> list[int]:
    """Return the videos that a rank evaluates; over all ranks each video once."""
    return list(range(rank, num_videos, world_size))
