"""Unlabelled video files by their paths."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.build import dataset_class
from slowfast_atfr.datasets.clip_sampling import Windows, segment_indices
from slowfast_atfr.datasets.decoder import DecodeError, Miscounted, Video, video_opener
from slowfast_atfr.datasets.decoding.timeline import Timeline
from slowfast_atfr.datasets.ssv2 import Ssv2
from slowfast_atfr.datasets.video_dataset import FrameSource, VideoDataset, retry_once
from slowfast_atfr.datasets.video_files import PREPARED, VIDEO_ENDINGS, is_video, walk_files
from slowfast_atfr.datasets.views import cut_views

WINDOWS_AT_ONCE = 8  # of a long video, yielded together
MOST_WINDOWS = 10**6  # of a video; more mean wrong time stamps


@dataclass(frozen=True)
class TimedViews:
    """Views of clips and their times.

    views: (clips * crops, T, H, W, 3) uint8. spans: (clips, 2) start and end of each clip in seconds.
    """

    views: Tensor
    spans: np.ndarray


class OwnVideos(VideoDataset):
    """The test views of video files, by the method of TEST.DATASET: windows of a fixed duration, or segments for
    Something-Something. All labels are 0.

    Args:
        cfg: reads TEST.DATASET, TEST.NUM_ENSEMBLE_VIEWS, TEST.NUM_SPATIAL_CROPS and DATA.
        paths: of the videos.
        start: of the only clip of each video, in seconds; None: the clips of a test.
    """

    def __init__(self, cfg: CfgNode, paths: Sequence[str], start: float | None = None) -> None:
        super().__init__(cfg, "test", np.zeros(len(paths), np.int64))
        self._paths, self._start = list(paths), start
        self._open_video = video_opener(cfg)
        self._in_segments = issubclass(dataset_class(cfg.TEST.DATASET), Ssv2)

    def path(self, index: int) -> str:
        return self._paths[index]

    def open(self, index: int) -> AbstractContextManager[Video]:
        return self._open_video(self.path(index))

    def view_indices(self, video: Video) -> np.ndarray:
        num_views = self.cfg.TEST.NUM_ENSEMBLE_VIEWS
        if self._start is None and self._in_segments:
            return segment_indices(video.num_frames, count=self.cfg.DATA.NUM_FRAMES)[None]  # all clips are the same
        windows = Windows(video.timeline, self.cfg.DATA)
        if self._start is None:
            return windows.views(num_views, use_offset=self.cfg.DATA.USE_OFFSET_SAMPLING)
        return windows.at(self._start * windows.rate)[None]

    def read_views(self, index: int) -> TimedViews:
        """Read the views of a video. Raises DecodeError."""

        def read() -> TimedViews:
            with self.open(index) as video:
                indices = self.view_indices(video)
                return TimedViews(self.cut_views(video, indices), _spans(video.timeline, indices))

        return retry_once(read)

    def read_windows(self, index: int, stride: float) -> Iterator[TimedViews]:
        """Yield windows of a clip's duration, every `stride` seconds, up to WINDOWS_AT_ONCE together, in one pass.

        Raises:
            DecodeError: where the video cannot be read, after a second try.
        """
        done = 0
        for is_last in (False, True):
            try:
                with self.open(index) as video:
                    for clips in self._along(video, stride, done):
                        yield clips
                        done += len(clips.spans)
                return
            except DecodeError:
                if is_last:
                    raise

    def _along(self, video: Video, stride: float, done: int) -> Iterator[TimedViews]:
        """Yield the windows after the first `done`."""
        timeline = video.timeline_estimate
        windows = Windows(timeline, self.cfg.DATA)
        step = max(stride * windows.rate, 1)
        if windows.total / step > MOST_WINDOWS:
            raise DecodeError(
                video.path, f"its time stamps give {timeline.seconds:.0f} s, which is too long for windows"
            )
        starts = np.arange(0, max(windows.total - windows.length, 0) + 1e-6, step)[done:]
        if not len(starts):
            return
        indices, seen = np.stack([windows.at(start) for start in starts]), 0
        for views in cut_views(video.frames_in_one_pass, indices, self.cfg, at_once=WINDOWS_AT_ONCE):
            spans = _spans(timeline, indices[seen : seen + len(views)])
            seen += len(views)
            yield TimedViews(torch.from_numpy(views.reshape(-1, *views.shape[2:])), spans)
        if seen < len(starts):
            raise Miscounted(video.path, f"it has fewer frames than its {timeline.num_frames} packets")

    def random_indices(self, video: FrameSource, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError("videos without labels are not trained on")

    def middle_indices(self, video: FrameSource) -> np.ndarray:
        raise NotImplementedError("videos without labels are not validated on")


def _spans(timeline: Timeline, indices: np.ndarray) -> np.ndarray:
    return np.array([timeline.span(clip) for clip in indices])


def find_videos(paths: Sequence[str]) -> list[str]:
    """Return the given files, and the sorted videos in and below the given folders.

    Raises:
        ConfigError: for a folder without videos, or one that cannot be read.
    """
    found = []
    for path in paths:
        if not os.path.isdir(path):
            found.append(path)
            continue
        below = [os.path.join(path, name) for name in walk_files(path, os.path.join(path, PREPARED)) if is_video(name)]
        if not below:
            raise ConfigError(f"there is no video below {path}; known endings are {', '.join(VIDEO_ENDINGS)}")
        found += below
    return found
