"""Scale the frames of a video."""

from collections.abc import Iterator

import cv2
import numpy as np

from slowfast_atfr.datasets.decoder import Video


def scaled_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Return (width, height) with this short side, never larger than before, both even as H.264 requires."""
    scale = short_side / min(width, height)
    limits = (width - width % 2, height - height % 2)  # a small video is at both limits
    even = (2 * round(width * scale / 2), 2 * round(height * scale / 2))
    return tuple(max(2, min(side, limit)) for side, limit in zip(even, limits, strict=True))


def scaled_frames(video: Video, short_side: int) -> Iterator[np.ndarray]:
    """Yield all frames of a video, scaled and upright, (H, W, 3) uint8 RGB of one size, as training would read them.

    Raises:
        DecodeError: if not every frame can be decoded.
    """
    for _, frame in video.frames(np.arange(video.num_frames)):
        size = scaled_size(frame.shape[1], frame.shape[0], short_side)
        same = size == (frame.shape[1], frame.shape[0])
        yield frame if same else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
