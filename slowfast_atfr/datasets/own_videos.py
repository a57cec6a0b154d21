"""Video files without labels, by their paths."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
from fvcore.common.config import CfgNode

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.build import dataset_class
from slowfast_atfr.datasets.clip_sampling import segment_indices, view_start, window_indices, window_length
from slowfast_atfr.datasets.decoder import Video, video_opener
from slowfast_atfr.datasets.ssv2 import Ssv2
from slowfast_atfr.datasets.video_dataset import FrameSource, VideoDataset
from slowfast_atfr.datasets.video_files import PREPARED, VIDEO_ENDINGS, is_video, walk_files


class OwnVideos(VideoDataset):
    """The views of video files, as TEST.DATASET takes them: windows of a fixed duration, or for Something-Something the
    whole video in segments. All labels are 0.

    Args:
        cfg: reads TEST.DATASET, TEST.NUM_ENSEMBLE_VIEWS, TEST.NUM_SPATIAL_CROPS and DATA.
        paths: of the videos.
        starts: first frames, (clips,), of the windows to take of each video; None: the test's own, along the video.
    """

    def __init__(self, cfg: CfgNode, paths: Sequence[str], starts: np.ndarray | None = None) -> None:
        super().__init__(cfg, "test", np.zeros(len(paths), np.int64))
        self._paths, self._starts = list(paths), starts
        self._open_video = video_opener(cfg)
        self._in_segments = issubclass(dataset_class(cfg.TEST.DATASET), Ssv2)

    def path(self, index: int) -> str:
        return self._paths[index]

    def open(self, index: int) -> AbstractContextManager[Video]:
        return self._open_video(self.path(index))

    def window(self, video: FrameSource) -> float:
        """Frames of a video that a clip spans."""
        data = self.cfg.DATA
        rates = {"sampling_rate": data.SAMPLING_RATE, "target_fps": data.TARGET_FPS}
        return window_length(video.fps, num_frames=data.NUM_FRAMES, **rates)

    def view_indices(self, video: FrameSource) -> np.ndarray:
        count, num_views = self.cfg.DATA.NUM_FRAMES, self.cfg.TEST.NUM_ENSEMBLE_VIEWS
        if self._starts is None and self._in_segments:
            return segment_indices(video.num_frames, count=count)[None]  # another clip would be the same
        window, starts = self.window(video), self._starts
        if starts is None:
            along = {"num_views": num_views, "use_offset": self.cfg.DATA.USE_OFFSET_SAMPLING}
            starts = [view_start(video.num_frames, window, view=view, **along) for view in range(num_views)]
        return np.stack([window_indices(video.num_frames, start, window, count=count) for start in starts])

    def random_indices(self, video: FrameSource, rng: np.random.Generator) -> np.ndarray:
        raise NotImplementedError("videos without labels are not trained on")

    def middle_indices(self, video: FrameSource) -> np.ndarray:
        raise NotImplementedError("videos without labels are not validated on")


def find_videos(paths: Sequence[str]) -> list[str]:
    """Files as they are named, and of folders the videos in and below them, sorted.

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
