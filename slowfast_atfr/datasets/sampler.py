"""Which videos a process takes, in which order: functions of the epoch and of nothing before it."""

from collections.abc import Iterator, Sequence
from itertools import cycle

import numpy as np
import torch


def epoch_order(num_videos: int, *, seed: int, epoch: int) -> np.ndarray:
    """A permutation of the videos, (num_videos,) int64, the same on all ranks."""
    generator = torch.Generator().manual_seed(seed + epoch)
    return torch.randperm(num_videos, generator=generator).numpy()


class TrainBatches:
    """Batch sampler for training: lists of (index, epoch), full batches only, equally many on every rank.

    A rank takes every world_size-th video of the epoch's permutation, so its batch number b, together with those of the
    other ranks, is what one process with the whole batch would take.

    Args:
        num_videos: of the data set.
        batch_sizes: clips of a batch of this rank; of several, batches take them in turn.
        rank, world_size: who this is among how many.
        seed: of the permutations.
        crops: where batches differ in it, the crop of each of batch_sizes in pixels; items are (index, epoch, crop).
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
        self.sizes = tuple(_in_turn(batch_sizes, num_videos // world_size))  # of all batches of an epoch
        self.epoch = 0
        self.first = 0  # batch that the next iteration begins with

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
    """The sizes, over and over, until the next batch would not be full."""
    for size in cycle(batch_sizes):
        if size > num_videos:
            return
        yield size
        num_videos -= size


def rank_indices(num_videos: int, *, rank: int, world_size: int) -> list[int]:
    """The videos that a rank evaluates: together every video once, none twice."""
    return list(range(rank, num_videos, world_size))
