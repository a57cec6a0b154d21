"""Base of all data sets: from an index to a clip or views, and the handling of unreadable videos."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor
from torch.utils.data import Dataset

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.augmentation.augment import cut_planned, draw_plans, erase_planned
from slowfast_atfr.datasets.decoding.frame_reading import DecodeError, FrameTransform, NumberedFrames
from slowfast_atfr.datasets.decoding.reusable_buffer import ReusableBuffer
from slowfast_atfr.datasets.items import Clip, Skip, Views
from slowfast_atfr.datasets.transform import cut, val_window
from slowfast_atfr.datasets.views import cut_views

T = TypeVar("T")
SPLITS = ("train", "val", "test")
MAX_REPLACEMENTS = 10  # unreadable replacements in a row before training stops


class FrameSource(Protocol):
    """An open video: `decoder.Video`, `frame_folder.FrameFolder`."""

    num_frames: int

    def read(self, indices: np.ndarray, transform: FrameTransform | None = None) -> np.ndarray: ...

    def frames(self, wanted: np.ndarray) -> NumberedFrames: ...


class VideoDataset(Dataset, ABC):
    """Labelled videos. A subclass locates videos and chooses the frames of clips.

    `dataset[index]` or `dataset[index, epoch]` is a `Clip` (train, val) or the `Views` of a video (test); with
    AUG.NUM_SAMPLE above 1 a tuple of training clips of the same frames. `dataset[index, epoch, crop_size]` is a
    training clip of another size than DATA.TRAIN_CROP_SIZE. All randomness comes from a generator seeded with
    (RNG_SEED, epoch, index), so an item does not depend on the process.
    """

    def __init__(self, cfg: CfgNode, split: str, labels: np.ndarray) -> None:
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}; choose one of {', '.join(SPLITS)}")
        self.cfg = cfg
        self.split = split
        self.labels = labels  # (videos,) int64
        self._buffer = ReusableBuffer()  # for the views of a video, hundreds of megabytes

    @abstractmethod
    def path(self, index: int) -> str:
        """The file or folder of a video."""

    @abstractmethod
    def open(self, index: int) -> AbstractContextManager[FrameSource]:
        """Open a video. Raises DecodeError."""

    @abstractmethod
    def random_indices(self, video: FrameSource, rng: np.random.Generator) -> np.ndarray:
        """Return the frame numbers of a random clip, (NUM_FRAMES,) int64."""

    @abstractmethod
    def middle_indices(self, video: FrameSource) -> np.ndarray:
        """Return the frame numbers of the validation clip, (NUM_FRAMES,) int64."""

    @abstractmethod
    def view_indices(self, video: FrameSource) -> np.ndarray:
        """Return the frame numbers of the test clips, (num_test_clips, NUM_FRAMES) int64."""

    @property
    def num_test_clips(self) -> int:
        """Test clips of a video, before crops; fewer than TEST.NUM_ENSEMBLE_VIEWS if those are equal."""
        return self.cfg.TEST.NUM_ENSEMBLE_VIEWS

    @property
    def num_views(self) -> int:
        """Test views of a video: clips x crops."""
        return self.num_test_clips * self.cfg.TEST.NUM_SPATIAL_CROPS

    def may_flip(self, index: int) -> bool:
        """Return whether a mirrored clip keeps its label; DATA.RANDOM_FLIP mirrors no other clip."""
        return True

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: int | tuple[int, ...]) -> Clip | tuple[Clip, ...] | Views:
        index, epoch, crop_size = (*key, 0)[:3] if isinstance(key, tuple) else (key, 0, 0)
        if self.split == "train":
            clips = self._random_clips(index, epoch, crop_size)
            return clips if len(clips) > 1 else clips[0]
        item, read = (Clip, self._read_middle) if self.split == "val" else (Views, self._read_views)
        label = int(self.labels[index])
        try:
            return item(retry_once(partial(read, index)), label, index)
        except DecodeError as error:
            return item(None, label, index, (Skip(index, error.path, error.reason),))

    def _random_clips(self, index: int, epoch: int, crop_size: int) -> tuple[Clip, ...]:
        """Read clips of the video, or of a replacement; the first clip lists the skipped videos.

        Raises:
            ConfigError: if MAX_REPLACEMENTS others cannot be read either.
        """
        rng = np.random.default_rng((self.cfg.RNG_SEED, epoch, index))
        skipped = []
        for _ in range(1 + MAX_REPLACEMENTS):
            seed = int(rng.integers(2**63))
            try:
                first, *others = retry_once(partial(self._read_random, index, seed, crop_size))
                label = int(self.labels[index])
                rest = (Clip(frames, label, index) for frames in others)
                return Clip(first, label, index, tuple(skipped)), *rest
            except DecodeError as error:
                skipped.append(Skip(index, error.path, error.reason))
                index = int(rng.integers(len(self)))
        failures = "".join(f"\n  {path}: {reason}" for path, reason in {s.path: s.reason for s in skipped}.items())
        raise ConfigError(
            f"{len(skipped)} videos in a row cannot be read; check DATA.PATH_PREFIX ({self.cfg.DATA.PATH_PREFIX!r}) "
            f"and the lists in DATA.PATH_TO_DATA_DIR ({self.cfg.DATA.PATH_TO_DATA_DIR!r}):{failures}"
        )

    def _read_random(self, index: int, seed: int, crop_size: int) -> list[Tensor]:
        """Read (T, H, W, 3) for each plan; frames are decoded once."""
        rng = np.random.default_rng(seed)
        with self.open(index) as video:
            indices = self.random_indices(video, rng)
            plans = draw_plans(self.cfg, rng, may_flip=self.may_flip(index), crop_size=crop_size)
            frames = video.read(indices, partial(cut_planned, plans=plans))  # (T, plans, H, W, 3)
        clips = [np.ascontiguousarray(frames[:, number]) for number in range(len(plans))]
        for clip, plan in zip(clips, plans, strict=True):
            erase_planned(clip, plan, self.cfg)
        return [torch.from_numpy(clip) for clip in clips]

    def _read_middle(self, index: int) -> Tensor:
        with self.open(index) as video:
            frames = video.read(self.middle_indices(video), partial(cut, windows=[val_window(self.cfg)]))
        return torch.from_numpy(frames[:, 0])

    def _read_views(self, index: int) -> Tensor:
        """Read (V, T, H, W, 3); every frame is decoded once and cut into its views immediately."""
        with self.open(index) as video:
            return self.cut_views(video, self.view_indices(video))

    def cut_views(self, video: FrameSource, indices: np.ndarray) -> Tensor:
        """Cut the views of clips of an open video: (clips, T) frame numbers to (clips * crops, T, H, W, 3) uint8."""
        (views,) = cut_views(video.frames, indices, self.cfg, new_array=self._buffer.array)
        return torch.from_numpy(views.reshape(-1, *views.shape[2:]))


def retry_once(read: Callable[[], T]) -> T:
    """Return read(), repeated once after a DecodeError, since network storage fails now and then."""
    try:
        return read()
    except DecodeError:
        return read()
