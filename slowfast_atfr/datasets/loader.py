"""Batches of a split, for one of the processes of a run."""

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
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
from slowfast_atfr.datasets.worker_errors import told_plainly
from slowfast_atfr.utils.distributed import RankInfo
from slowfast_atfr.utils.env import hand_back_freed_memory


class Loader:
    """Batches of clips. `len()` is the number of iterations of an epoch, `num_videos` that of the whole data set."""

    def __init__(self, dataset: VideoDataset, batches: DataLoader) -> None:
        self.dataset = dataset
        self.num_videos = len(dataset)
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return told_plainly(self._batches)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the random clips of the next iteration; they depend on nothing else."""
        if isinstance(self._batches.batch_sampler, TrainBatches):
            self._batches.batch_sampler.epoch = epoch


class ViewLoader(Loader):
    """Batches of a fixed number of views, across the borders of videos.

    `len()` takes all videos for readable; each one that is not takes its views away.
    """

    def __init__(self, dataset: VideoDataset, videos: DataLoader, *, batch_size: int, views_per_video: int) -> None:
        super().__init__(dataset, videos)
        self._batch_size = batch_size
        self._views_per_video = views_per_video

    def __len__(self) -> int:
        return math.ceil(len(self._batches) * self._views_per_video / self._batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return chunk_views(told_plainly(self._batches), self._batch_size)


def build_loader(cfg: CfgNode, split: str, rank: RankInfo) -> Loader:
    """The loader of a split for one process.

    Args:
        cfg: a machine's processes share TRAIN.BATCH_SIZE clips (train, val) or TEST.BATCH_SIZE views (test).
        split: train: full batches of a new permutation each epoch. val: every clip once, a smaller batch at the end.
            test: every view of every video once, in batches of views.
        rank: of this process.
    Raises:
        ConfigError: if the batch cannot be shared evenly, or training has fewer clips than one batch of all processes.
    """
    dataset = build_dataset(cfg.TEST.DATASET if split == "test" else cfg.TRAIN.DATASET, cfg, split)
    batch_size = _share(cfg, "TEST" if split == "test" else "TRAIN", rank.local_world_size)
    workers = _workers(cfg.DATA_LOADER.NUM_WORKERS, rank.local_world_size)
    options = {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "worker_init_fn": _start_worker,
        "pin_memory": cfg.DATA_LOADER.PIN_MEMORY and rank.device.type == "cuda",
        "generator": torch.Generator(),  # its own, so that loading leaves the run's random state alone
    }
    place = {"rank": rank.rank, "world_size": rank.world_size}
    if split == "train":
        batches = TrainBatches(len(dataset), batch_size, **place, seed=cfg.RNG_SEED)
        if not len(batches):
            raise ConfigError(
                f"the training list has {len(dataset)} videos, fewer than the {batch_size * rank.world_size} of one "
                f"batch of all processes; lower TRAIN.BATCH_SIZE ({cfg.TRAIN.BATCH_SIZE} for each machine)"
            )
        return Loader(dataset, DataLoader(dataset, batch_sampler=batches, collate_fn=collate_clips, **options))
    mine = rank_indices(len(dataset), **place)
    if split == "val":
        batches = BatchSampler(mine, batch_size, drop_last=False)
        return Loader(dataset, DataLoader(dataset, batch_sampler=batches, collate_fn=collate_clips, **options))
    if workers:
        options["prefetch_factor"] = 1  # an item is all views of a video, hundreds of megabytes with 30 of them
    videos = DataLoader(dataset, batch_size=None, sampler=mine, collate_fn=_unchanged, **options)
    views = cfg.TEST.NUM_ENSEMBLE_VIEWS * cfg.TEST.NUM_SPATIAL_CROPS
    return ViewLoader(dataset, videos, batch_size=batch_size, views_per_video=views)


def chunk_views(videos: Iterable[Views], batch_size: int) -> Iterator[Batch]:
    """Batches of exactly `batch_size` views out of videos with any number of them; the last one may be smaller.

    Videos that could not be read go along with the next batch; if none follows, with an empty one.
    """
    waiting: deque[Batch] = deque()
    skipped: list[Skip] = []
    for video in videos:
        skipped += video.skipped
        if video.frames is None:
            continue
        waiting.append(_as_batch(video))
        while sum(map(len, waiting)) >= batch_size:
            yield replace(_take(waiting, batch_size), skipped=tuple(skipped))
            skipped.clear()
    if waiting or skipped:
        yield replace(_take(waiting, batch_size), skipped=tuple(skipped))


def _as_batch(video: Views) -> Batch:
    count = len(video.frames)
    labels, index = (torch.full((count,), value, dtype=torch.int64) for value in (video.label, video.index))
    return Batch(video.frames, labels, index, torch.arange(count))


def _take(waiting: deque[Batch], count: int) -> Batch:
    """Remove up to `count` views from the left. Views of one video are handed on without a copy."""
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


def _share(cfg: CfgNode, section: str, processes: int) -> int:
    size = cfg[section].BATCH_SIZE
    if size % processes:
        rule = f"the {processes} processes of a machine share it evenly, so it is a multiple of {processes}"
        raise ConfigError(f"{section}.BATCH_SIZE is {size}; {rule}")
    return size // processes


def _workers(wanted: int, processes: int) -> int:
    """Workers for one of the processes of a machine, no more than it has cores; clips do not depend on their number."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(wanted, max(1, cores // processes))


def _start_worker(worker: int) -> None:
    """One thread for each data loading process: there are as many processes as the cores can take."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    hand_back_freed_memory()


def _unchanged(item: Any) -> Any:
    return item
