"""Frames of a video file by their numbers, for all data sets."""

import functools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from fvcore.common.config import CfgNode

from slowfast_atfr.datasets.decoding.frame_reading import DecodeError, FrameTransform, Miscounted
from slowfast_atfr.datasets.decoding.pyav_video import Video, VideoInfo
from slowfast_atfr.datasets.decoding.torchcodec_video import TorchcodecVideo, load_decoder

__all__ = [
    "DecodeError",
    "FrameTransform",
    "Miscounted",
    "Video",
    "VideoInfo",
    "VideoOpener",
    "open_video",
    "probe",
    "read_frames",
    "use_video",
    "video_opener",
]

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


def read_frames(path: str | os.PathLike, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Frames of a video file.

    Args:
        path: any file that FFmpeg reads; its first video stream is taken, upright.
        indices: (T,) frame numbers in any order, repeats allowed.
    Returns:
        (T, H, W, 3) uint8 RGB.
    Raises:
        DecodeError: for a file, or a wanted frame of it, that cannot be decoded.
    """
    return use_video(path, lambda video: video.read(indices))


def use_video(path: str | os.PathLike, use: Callable[[Video], Result]) -> Result:
    """Return use(video). If its packets miscount its frames, the video is opened again, counted, and `use` is repeated.

    Raises:
        DecodeError: if it cannot be opened, or `use` raises it.
    """
    try:
        with open_video(path) as video:
            return use(video)
    except Miscounted:
        with open_video(path, counts=True) as video:
            return use(video)


def probe(path: str | os.PathLike) -> VideoInfo:
    """Return frames, rate and size of a video file; decodes its first frame. Raises DecodeError if it cannot."""
    with open_video(path) as video:
        return video.info


@contextmanager
def open_video(path: str | os.PathLike, backend: str = "pyav", *, counts: bool = False) -> Iterator[Video]:
    """Open a video.

    Args:
        path: any file that FFmpeg reads; its first video stream is taken.
        backend: pyav, torchcodec.
        counts: decode the whole video to count its frames, instead of its packets.
    Raises:
        DecodeError: if it cannot be opened.
    """
    video = (TorchcodecVideo if backend == "torchcodec" else Video)(path, counts=counts)
    try:
        yield video
    finally:
        video.close()


class VideoOpener:
    """`open_video` for a data set. Videos found to be miscounted are counted when they are opened again."""

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._miscounted: set[str] = set()

    @contextmanager
    def __call__(self, path: str) -> Iterator[Video]:
        """Open a video. Raises DecodeError; Miscounted if a second call will succeed."""
        try:
            with open_video(path, self._backend, counts=path in self._miscounted) as video:
                yield video
        except Miscounted:
            self._miscounted.add(path)
            raise


def video_opener(cfg: CfgNode) -> VideoOpener:
    """Return an opener with the backend DATA.DECODING_BACKEND. Raises ConfigError if it does not load."""
    backend = cfg.DATA.DECODING_BACKEND
    if backend == "torchvision":
        _log_replacement_of_torchvision()
    if backend == "torchcodec":
        load_decoder()
    return VideoOpener(backend)


@functools.cache  # once for all data sets of a run
def _log_replacement_of_torchvision() -> None:
    logger.info("DATA.DECODING_BACKEND is torchvision, which slowfast_atfr does not use: pyav is used")
