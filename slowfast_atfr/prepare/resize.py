"""Resize videos to H.264 in MP4: the same frames at the same times, with key frames for random clips."""

import io
from fractions import Fraction
from functools import partial

import av
import numpy as np

from slowfast_atfr.datasets.decoder import Video, use_video
from slowfast_atfr.prepare.scale import scaled_frames
from slowfast_atfr.utils.files import write_whole

KEY_FRAME_EVERY = 32  # frames; at most these are decoded in addition to those of a clip
FINEST = 1_000_000  # units of time in a second, the most that MP4 allows
# No B-frames. One thread: videos are resized in parallel.
OPTIONS = {"crf": "20", "preset": "fast", "g": str(KEY_FRAME_EVERY), "bf": "0", "threads": "1"}


def resize_video(job: tuple[str, str], *, short_side: int) -> None:
    """Write a small copy of a video, whole or not at all; small videos keep their size, sides become even.

    Args:
        job: the file, and the file to write.
        short_side: pixels, even.
    Raises:
        DecodeError: if not every frame can be decoded.
        OSError: if the copy cannot be written.
    """
    source, target = job
    write_whole(target, use_video(source, partial(_encoded, short_side=short_side)))


def frame_times(video: Video) -> tuple[np.ndarray, Fraction]:
    """Return when each frame is shown: (F,) int64, increasing from 0, and their unit in seconds.

    Times are those of the packets; evenly spaced where there are none, or where two fall together at MP4's resolution.
    """
    even = np.arange(video.num_frames), 1 / _as_fraction(video.fps)
    if video.times is None:
        return even
    times, base = video.times
    times = times - times[0]
    if base.denominator > FINEST:
        times, base = np.round(times * float(base * FINEST)).astype(np.int64), Fraction(1, FINEST)
    return (times, base) if (np.diff(times) > 0).all() else even


def _encoded(video: Video, short_side: int) -> bytes:
    """Encode the copy in memory, so that a full disk can only fail the final write."""
    times, base = frame_times(video)
    buffer, stream = io.BytesIO(), None
    with av.open(buffer, "w", format="mp4") as container:
        for time, frame in zip(times.tolist(), scaled_frames(video, short_side), strict=True):
            if stream is None:
                stream = container.add_stream("libx264", rate=_as_fraction(video.fps), options=OPTIONS)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = stream.time_base = base
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts, picture.time_base = time, base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return buffer.getvalue()


def _as_fraction(rate: float) -> Fraction:
    return Fraction(rate).limit_denominator(10_000)
