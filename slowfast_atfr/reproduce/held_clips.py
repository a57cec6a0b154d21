"""Clips that stand still most of the time: where similarity has something to gain over merging by the clock."""

import os
import zlib

import numpy as np

from slowfast_atfr.datasets.build import DATASET_REGISTRY
from slowfast_atfr.datasets.decoder import Video
from slowfast_atfr.datasets.kinetics import Kinetics

MOVING = 3 / 8  # of a clip's frames


def register_held_clips() -> None:
    """Enter `held` in DATASET_REGISTRY, for the configs of a study; nobody else finds it there."""
    if "Held" not in DATASET_REGISTRY:
        DATASET_REGISTRY.register(Held)


class Held(Kinetics):
    """Kinetics' clips, of which the middle MOVING is shown, and its outer frames are held before and behind it.

    When it starts to move is drawn anew for every training clip; where a clip is taken for validation or a test, the
    name of its file decides.
    """

    def random_indices(self, video: Video, rng: np.random.Generator) -> np.ndarray:
        indices = super().random_indices(video, rng)
        return hold_outer_frames(indices, float(rng.random()))

    def middle_indices(self, video: Video) -> np.ndarray:
        return hold_outer_frames(super().middle_indices(video), _share_of(video.path))

    def view_indices(self, video: Video) -> np.ndarray:
        return np.stack([hold_outer_frames(view, _share_of(video.path)) for view in super().view_indices(video)])


def hold_outer_frames(indices: np.ndarray, begin: float) -> np.ndarray:
    """The middle MOVING of some frames, with its first one before and its last one behind for the rest of the time.

    Args:
        indices: (T,) frames of a video.
        begin: in [0, 1), how late it starts to move.
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
    """A number in [0, 1) for a file, wherever it lies."""
    return zlib.crc32(os.path.basename(path).encode()) / 2**32
