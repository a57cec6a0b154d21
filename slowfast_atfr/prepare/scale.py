"""Every frame of a video, upright and made small, given to whatever keeps them."""

from collections.abc import Callable
from typing import Protocol, TypeVar

import cv2
import numpy as np

from slowfast_atfr.datasets.decoder import Video


class Sink(Protocol):
    """Takes the frames of a video in order, (H, W, 3) uint8 RGB of one size."""

    def take(self, frame: np.ndarray) -> None: ...


SomeSink = TypeVar("SomeSink", bound=Sink)


def scaled_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """(width, height) with this short side, never larger than before, both even as H.264 wants them."""
    scale = short_side / min(width, height)
    limits = (width - width % 2, height - height % 2)  # which a small video meets on both sides
    even = (2 * round(width * scale / 2), 2 * round(height * scale / 2))
    return tuple(max(2, min(side, limit)) for side, limit in zip(even, limits, strict=True))


def pour(video: Video, short_side: int, make_sink: Callable[[], SomeSink]) -> SomeSink:
    """Give all frames of a video, scaled, to a new sink and return it.

    The frames are those that training would read, one at a time, so long videos take no memory.
    Raises:
        DecodeError: if not every frame can be decoded.
    """
    sink = make_sink()

    def take(row: int, frame: np.ndarray) -> None:
        nonlocal sink
        if row == 0:  # also where the reader starts anew
            sink = make_sink()
        size = scaled_size(frame.shape[1], frame.shape[0], short_side)
        same = size == (frame.shape[1], frame.shape[0])
        sink.take(frame if same else cv2.resize(frame, size, interpolation=cv2.INTER_AREA))

    video.visit(np.arange(video.num_frames), take)
    return sink
