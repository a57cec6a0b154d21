"""Batches of a split for one process of a run."""

import math
import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import cv2
import torch
from fvcore.common.config import CfgNode
from torch.utils.data import BatchSampler, DataLoader

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.build import build_dataset
from slowfast_atfr.datasets.items import Batch, Skip, Views, collate_clips
from slowfast_atfr.datasets.sampler import TrainBatches, rank_indices
from slowfast_atfr.datasets.video_dataset import VideoDataset
from slowfast_atfr.datasets.worker_errors import with_plain_errors
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.env import return_freed_memory
from slowfast_atfr.utils.stop import ignore_signals


class Loader:
    """Batches of clips. `len()` is the number of batches of an epoch."""

    def __init__(self, dataset: VideoDataset, batches: DataLoader) -> None:
        self.dataset = dataset
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return with_plain_errors(self._batches)


class TrainLoader(Loader):
    """Batches for training; an epoch can start at any batch."""

    def __init__(self, dataset: VideoDataset, batches: DataLoader, sampler: TrainBatches) -> None:
        super().__init__(dataset, batches)
        self._sampler = sampler

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Set the epoch, which alone determines order and random clips of the next iteration.

        Args:
            epoch: from 0.
            first: batch to start with, from 0.
        """
        self._sampler.epoch, self._sampler.first = epoch, first

    def clips_before(self, number: int) -> int:
        """Return the number of clips in the first `number` batches of all processes."""
        return self._sampler.world_size * sum(self._sampler.sizes[:number])

    def first_batch_after(self, clips: int) -> int:
        """Return the batch that starts after `clips` clips of an epoch, or the last one that starts before."""
        return next(number for number in range(len(self), -1, -1) if self.clips_before(number) <= clips)


class ViewLoader(Loader):
    """Batches of a fixed number of views, which may span videos.

    `len()` assumes that all videos are readable.
    """

    def __init__(self, dataset: VideoDataset, videos: DataLoader, *, batch_size: int, views_per_video: int) -> None:
        super().__init__(dataset, videos)
        self._batch_size = batch_size
        self._views_per_video = views_per_video

    def __len__(self) -> int:
        return math.ceil(len(self._batches) * self._views_per_video / self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return chunk_views(with_plain_errors(self._batches), self._batch_size)


def build_train_loader(cfg: CfgNode, rank: RankInfo, short_cycle: Sequence[tuple[int, int]] = ()) -> TrainLoader:
    """Build the training loader of one process: full batches of a new permutation each epoch.

    Args:
        cfg: a machine's processes share TRAIN.BATCH_SIZE clips.
        rank: of this process.
        short_cycle: (batch size of a machine, crop in pixels) of successive batches, instead of cfg's.
    Raises:
        ConfigError: if a batch cannot be shared evenly, or there are fewer clips than one batch of all processes.
    """
    dataset = build_dataset(cfg.TRAIN.DATASET, cfg, "train")
    sizes = [_share("TRAIN", size, rank.local_world_size) for size, _ in short_cycle or [(cfg.TRAIN.BATCH_SIZE, 0)]]
    place = {"rank": rank.rank, "world_size": rank.world_size, "seed": cfg.RNG_SEED}
    batches = TrainBatches(len(dataset), sizes, **place, crops=[crop for _, crop in short_cycle])
    if not len(batches):
        raise ConfigError(_too_few_videos(len(dataset), sizes[0], cfg, rank, short_cycle))
    options = _options(cfg, rank)
    loader = DataLoader(dataset, batch_sampler=batches, collate_fn=collate_clips, **options)
    return TrainLoader(dataset, loader, batches)


def _too_few_videos(
    videos: int, size: int, cfg: CfgNode, rank: RankInfo, short_cycle: Sequence[tuple[int, int]]
) -> str:
    text = (
        f"the training list has {videos} videos, fewer than the {size * rank.world_size} of one batch of all processes"
    )
    multigrid = cfg.MULTIGRID
    if not multigrid.DEFAULT_S:  # set by the schedule of multigrid training
        return f"{text}; lower TRAIN.BATCH_SIZE ({cfg.TRAIN.BATCH_SIZE} for each machine)"
    clip = f"{cfg.DATA.NUM_FRAMES} frames and {short_cycle[0][1] if short_cycle else cfg.DATA.TRAIN_CROP_SIZE} pixels"
    on = " and ".join(key for key in ("LONG_CYCLE", "SHORT_CYCLE") if multigrid[key])
    return (
        f"{text}. MULTIGRID.{on} has more clips in a batch if they are smaller: {size * rank.local_world_size} of "
        f"{clip} on each machine in this phase. Lower TRAIN.BATCH_SIZE, the number of full clips, raise "
        "MULTIGRID.LONG_CYCLE_FACTORS or SHORT_CYCLE_FACTORS, or train without multigrid"
    )


def build_loader(cfg: CfgNode, split: str, rank: RankInfo) -> Loader:
    """Build the loader of a split for one process.

    Args:
        cfg: a machine's processes share TRAIN.BATCH_SIZE clips (train, val) or TEST.BATCH_SIZE views (test).
        split: train: as `build_train_loader`. val: every clip once, a smaller batch at the end. test: as
            `build_view_loader`.
        rank: of this process.
    Raises:
        ConfigError: if the batch cannot be shared evenly, or training has fewer clips than one batch of all processes.
    """
    if split == "train":
        return build_train_loader(cfg, rank)
    if split == "test":
        return build_view_loader(build_dataset(cfg.TEST.DATASET, cfg, split), cfg, rank)
    dataset = build_dataset(cfg.TRAIN.DATASET, cfg, split)
    batch_size = _share("TRAIN", cfg.TRAIN.BATCH_SIZE, rank.local_world_size)
    mine = rank_indices(len(dataset), rank=rank.rank, world_size=rank.world_size)
    batches = BatchSampler(mine, batch_size, drop_last=False)
    return Loader(dataset, DataLoader(dataset, batch_sampler=batches, collate_fn=collate_clips, **_options(cfg, rank)))


def build_view_loader(dataset: VideoDataset, cfg: CfgNode, rank: RankInfo, *, done: Collection[int] = ()) -> ViewLoader:
    """Build the test loader of one process: every view of every video once.

    Args:
        dataset: of the split test.
        cfg: a machine's processes share TEST.BATCH_SIZE views.
        rank: of this process.
        done: videos to skip, which an interrupted test has finished.
    Raises:
        ConfigError: if the batch cannot be shared evenly.
    """
    batch_size = _share("TEST", cfg.TEST.BATCH_SIZE, rank.local_world_size)
    left = [video for video in range(len(dataset)) if video not in done]
    mine = [left[place] for place in rank_indices(len(left), rank=rank.rank, world_size=rank.world_size)]
    options = _options(cfg, rank)
    if options["num_workers"]:
        options["prefetch_factor"] = 1  # an item is all views of a video, hundreds of megabytes for 30 views
    videos = DataLoader(dataset, batch_size=None, sampler=mine, collate_fn=_unchanged, **options)
    return ViewLoader(dataset, videos, batch_size=batch_size, views_per_video=dataset.num_views)


def _options(cfg: CfgNode, rank: RankInfo) -> dict[str, Any]:
    """Return the common options of a run's DataLoaders."""
    workers = num_workers(cfg.DATA_LOADER.NUM_WORKERS, rank.local_world_size)
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "worker_init_fn": _start_worker,
        "pin_memory": cfg.DATA_LOADER.PIN_MEMORY and rank.device.type == "cuda",
        "generator": torch.Generator(),  # separate from the run's random state
    }


def chunk_views(videos: Iterable[Views], batch_size: int) -> Iterator[Batch]:
    """Yield batches of `batch_size` views from videos with any number of views; the last one may be smaller.

    Unreadable videos are listed in the next batch, or in an empty last one.
    """
    waiting: deque[Batch] = deque()
    skipped: list[Skip] = []
    for video in videos:
        skipped += video.skipped
        if video.frames is None:
            continue
        waiting.append(_as_batch(video))
        while sum(map(len, waiting)) >= batch_size:
            yield replace(_pop_views(waiting, batch_size), skipped=tuple(skipped))
            skipped.clear()
    if waiting or skipped:
        yield replace(_pop_views(waiting, batch_size), skipped=tuple(skipped))


def _as_batch(video: Views) -> Batch:
    count = len(video.frames)
    labels, index = (torch.full((count,), value, dtype=torch.int64) for value in (video.label, video.index))
    return Batch(video.frames, labels, index, torch.arange(count))


def _pop_views(waiting: deque[Batch], count: int) -> Batch:
    """Remove up to `count` views from the left; views of one video are not copied."""
    parts = []
    while count and waiting:
        batch = waiting.popleft()
        parts.append(_slice(batch, slice(0, count)))
        if len(batch) > count:
            waiting.appendleft(_slice(batch, slice(count, None)))
        count -= len(parts[-1])
    if len(parts) == 1:
        return parts[0]
    frames = torch.cat([part.frames for part in parts]) if parts else None
    fields = ([getattr(part, name) for part in parts] for name in ("labels", "index", "view"))
    return Batch(frames, *(torch.cat(field) if field else torch.zeros(0, dtype=torch.int64) for field in fields))


def _slice(batch: Batch, views: slice) -> Batch:
    return Batch(batch.frames[views], batch.labels[views], batch.index[views], batch.view[views])


def _share(section: str, size: int, processes: int) -> int:
    """Return this process's part of a machine's batch."""
    if size % processes:
        rule = f"the {processes} processes of a machine share it evenly: set a multiple of {processes}"
        raise ConfigError(f"{section}.BATCH_SIZE is {size}; {rule}")
    return size // processes


def num_workers(wanted: int, processes: int) -> int:
    """Return the number of data workers of a process, limited by the machine's cores; clips do not depend on it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(wanted, max(1, cores // processes))


def _start_worker(worker: int) -> None:
    """Set up a data worker, with one thread: there are as many workers as cores."""
    ignore_signals()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    return_freed_memory()


def _unchanged(item: Any) -> Any:
    return item
