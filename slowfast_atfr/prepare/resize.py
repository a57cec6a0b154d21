"""Videos made small: H.264 in MP4, the same frames at the same times, with key frames for random clips."""

import io
from fractions import Fraction
from functools import partial

import av
import numpy as np

from slowfast_atfr.datasets.decoder import Video, use_video
from slowfast_atfr.prepare.scale import pour
from slowfast_atfr.utils.files import write_whole

KEY_FRAME_EVERY = 32  # frames; a clip costs at most these on top of its own
FINEST = 1_000_000  # units of time in a second; MP4 counts no finer
# No frame waits for a later one. One thread: the videos run side by side.
OPTIONS = {"crf": "20", "preset": "fast", "g": str(KEY_FRAME_EVERY), "bf": "0", "threads": "1"}


def resize_video(job: tuple[str, str], *, short_side: int) -> None:
    """Write a small copy of a video, whole or not at all; small ones keep their size, sides become even.

    Args:
        job: the file, and the one to be written.
        short_side: pixels, even.
    Raises:
        DecodeError: if not every frame can be decoded.
        OSError: if the copy cannot be written.
    """
    source, target = job

    def encode(video: Video) -> _Encoder:
        times, base = frame_times(video)
        rate = Fraction(video.fps).limit_denominator(10_000)
        return pour(video, short_side, partial(_Encoder, times, base, rate))

    write_whole(target, use_video(source, encode).finish())


def frame_times(video: Video) -> tuple[np.ndarray, Fraction]:
    """When each frame is shown: (F,) int64 from 0 on, increasing, and the seconds of their unit.

    As the packets tell; evenly, where they do not, or two of them are one at MP4's finest.
    """
    even = np.arange(video.num_frames), 1 / Fraction(video.fps).limit_denominator(10_000)
    if video.times is None:
        return even
    times, base = video.times
    times = times - times[0]
    if base.denominator > FINEST:
        times, base = np.round(times * float(base * FINEST)).astype(np.int64), Fraction(1, FINEST)
    return (times, base) if (np.diff(times) > 0).all() else even


class _Encoder:
    """Frames to an MP4 file in memory, so that a full disk is an error of the final write and of nothing else."""

    def __init__(self, times: np.ndarray, base: Fraction, rate: Fraction) -> None:
        self._times, self._base, self._rate = times, base, rate
        self._buffer, self._stream, self._count = io.BytesIO(), None, 0
        self._container = av.open(self._buffer, "w", format="mp4")

    def take(self, frame: np.ndarray) -> None:
        if self._stream is None:
            self._stream = self._container.add_stream("libx264", rate=self._rate, options=OPTIONS)
            self._stream.height, self._stream.width = frame.shape[:2]
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = self._stream.time_base = self._base
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts, picture.time_base = int(self._times[self._count]), self._base
        self._count += 1
        self._container.mux(self._stream.encode(picture))

    def finish(self) -> bytes:
        """The file."""
        self._container.mux(self._stream.encode())
        self._container.close()
        return self._buffer.getvalue()
