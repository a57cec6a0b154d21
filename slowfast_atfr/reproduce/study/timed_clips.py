"""Data sets for the study, from Kinetics lists: their classes need time, or their action takes part of the clip."""

import os
import zlib

import numpy as np
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.datasets.build import DATASET_REGISTRY
from slowfast_atfr.datasets.clip_sampling import segment_indices
from slowfast_atfr.datasets.decoder import Video
from slowfast_atfr.datasets.kinetics import Kinetics

MOVING = 3 / 8  # of a clip's frames


def register_timed_clips() -> None:
    """Register `held`, `whole`, `paused` and `directed` in DATASET_REGISTRY, for the study only."""
    for kind in (Held, Whole, Paused, Directed):
        if kind.__name__ not in DATASET_REGISTRY:
            DATASET_REGISTRY.register(kind)


class Held(Kinetics):
    """Clips that show the middle MOVING share of their frames, with the first and the last of these held around it.

    The start of motion is drawn anew for every training clip; in validation and tests it depends on the file name.
    """

    def random_indices(self, video: Video, rng: np.random.Generator) -> np.ndarray:
        indices = super().random_indices(video, rng)
        return hold_outer_frames(indices, float(rng.random()))

    def middle_indices(self, video: Video) -> np.ndarray:
        return hold_outer_frames(super().middle_indices(video), _share_of(video.path))

    def view_indices(self, video: Video) -> np.ndarray:
        return np.stack([hold_outer_frames(view, _share_of(video.path)) for view in super().view_indices(video)])


class Whole(Kinetics):
    """A clip spans the whole video: one frame of each of NUM_FRAMES equal parts, as for Something-Something."""

    def random_indices(self, video: Video, rng: np.random.Generator) -> np.ndarray:
        return segment_indices(video.num_frames, count=self.cfg.DATA.NUM_FRAMES, rng=rng)

    def middle_indices(self, video: Video) -> np.ndarray:
        return segment_indices(video.num_frames, count=self.cfg.DATA.NUM_FRAMES)

    def view_indices(self, video: Video) -> np.ndarray:
        return self.middle_indices(video)[None]

    @property
    def num_test_clips(self) -> int:
        return 1


class Paused(Whole):
    """The whole video in a third to all of a clip's frames; in the rest it pauses at one frame.

    Length and place of the pause are drawn anew for every training clip; otherwise they depend on the file name.
    """

    def random_indices(self, video: Video, rng: np.random.Generator) -> np.ndarray:
        return self._paused(video, *rng.random(2), rng)

    def middle_indices(self, video: Video) -> np.ndarray:
        share = _share_of(video.path)
        return self._paused(video, share, share * 97 % 1)

    def _paused(self, video: Video, length: float, place: float, rng: np.random.Generator | None = None) -> np.ndarray:
        frames = self.cfg.DATA.NUM_FRAMES
        fewest = -(-frames // 3)
        playing = fewest + int(length * (frames - fewest + 1))
        return pause(segment_indices(video.num_frames, count=playing, rng=rng), frames, place)


class Directed(Whole):
    """Every video forwards and backwards, with twice as many classes: 2 x label, plus 1 for backwards."""

    def __init__(self, cfg: CfgNode, split: str) -> None:
        super().__init__(cfg, split)
        self.labels = np.stack([2 * self.labels, 2 * self.labels + 1], axis=1).ravel()

    def path(self, index: int) -> str:
        return super().path(index // 2)

    def _read_random(self, index: int, seed: int, crop_size: int) -> list[Tensor]:
        clips = super()._read_random(index, seed, crop_size)
        return [clip.flip(0) for clip in clips] if index % 2 else clips

    def _read_middle(self, index: int) -> Tensor:
        clip = super()._read_middle(index)
        return clip.flip(0) if index % 2 else clip

    def _read_views(self, index: int) -> Tensor:
        views = super()._read_views(index)
        return views.flip(1) if index % 2 else views


def pause(indices: np.ndarray, frames: int, share: float) -> np.ndarray:
    """Repeat one frame until there are `frames`; share: its place, in [0, 1).

    >>> pause(np.arange(4), 8, 0.3)
    array([0, 1, 1, 1, 1, 1, 2, 3])
    """
    times = np.ones(len(indices), dtype=np.int64)
    times[int(share * len(indices))] += frames - len(indices)
    return np.repeat(indices, times)


def hold_outer_frames(indices: np.ndarray, begin: float) -> np.ndarray:
    """Return the middle MOVING share of frames, with its first one before and its last one after it for the rest.

    Args:
        indices: (T,) frames of a video.
        begin: in [0, 1), when motion starts.
    Returns:
        (T,) indices.

    >>> hold_outer_frames(np.arange(100, 116), 0.5)
    array([105, 105, 105, 105, 105, 105, 106, 107, 108, 109, 110, 110, 110,
           110, 110, 110])
    """
    frames = len(indices)
    moving = max(1, round(MOVING * frames))
    held = frames - moving
    first, before = held // 2, int(begin * (held + 1))
    return indices[first + np.clip(np.arange(frames) - before, 0, moving - 1)]


def _share_of(path: str) -> float:
    """Return a number in [0, 1) from the name of a file."""
    return zlib.crc32(os.path.basename(path).encode()) / 2**32
