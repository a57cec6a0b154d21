"""Frames of a video file at given indices, by torchcodec, the optional backend (DATA.DECODING_BACKEND torchcodec)."""

import functools
import io
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.decoding.frame_reading import DecodeError
from slowfast_atfr.datasets.decoding.pyav_video import TableContradicted, Video
from slowfast_atfr.datasets.decoding.to_rgb import display_matrix, is_mirrored

FRAMES_AT_A_TIME = 16  # full pictures that are held in memory before `transform` has made them small


class TorchcodecVideo(Video):
    """A `Video` whose frames torchcodec decodes where packets tell their times; all else is as there.

    The same frames, by the same numbers. Pixels of 8-bit videos of even size differ by at most 2 of 255. With odd sizes
    or more bits FFmpeg goes another way to RGB here than there and the colour of fine detail differs, on noise by 3 of
    255 in the mean. Videos without a table of frames (AVI) and mirrored ones are read by PyAV, since torchcodec counts
    packets and turns, but does not mirror. It does not tell damaged pictures from sound ones.
    """

    def _seeking(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        if self._is_mirrored:
            yield from super()._seeking(wanted)
            return
        for start in range(0, len(wanted), FRAMES_AT_A_TIME):
            chunk = wanted[start : start + FRAMES_AT_A_TIME]
            try:
                batch = self._decoder.get_frames_at(chunk.tolist())
            except (RuntimeError, ValueError, IndexError) as error:
                raise DecodeError(self.path, _first_line(error)) from error
            times = self._table.pts[chunk] * float(self._file.time_base)
            if len(self._decoder) != self.num_frames or not np.allclose(batch.pts_seconds, times, rtol=0, atol=1e-4):
                raise TableContradicted
            yield from batch.data.numpy()

    @functools.cached_property
    def _is_mirrored(self) -> bool:
        _, first = next(self._decoded_from(int(self._table.seekable[0]), set()))
        matrix = display_matrix(first)
        return matrix is not None and is_mirrored(matrix)

    @functools.cached_property
    def _decoder(self) -> Any:
        try:
            return load_decoder()(self.path, stream_index=self._file.stream.index, **_OPTIONS)
        except (RuntimeError, ValueError) as error:
            raise DecodeError(self.path, _first_line(error)) from error


_OPTIONS = {"dimension_order": "NHWC", "num_ffmpeg_threads": 1, "device": "cpu", "seek_mode": "exact"}


@functools.cache
def load_decoder() -> type:
    """torchcodec's VideoDecoder, once it has decoded a video of one frame.

    Raises:
        ConfigError: if it does not, with the reason: torchcodec is missing, or it finds no FFmpeg that it can load.
    """
    try:
        from torchcodec.decoders import VideoDecoder

        VideoDecoder(_tiny_video(), **_OPTIONS).get_frames_at([0])
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        reason = ": ".join(_first_line(e) for e in (error, error.__cause__) if e is not None)
        raise ConfigError(
            f"DATA.DECODING_BACKEND is 'torchcodec', which does not load: {reason}. It takes "
            "pip install 'slowfast_atfr[torchcodec]', for the version of torch that is installed, and FFmpeg's shared "
            "libraries where the system finds them; or choose DATA.DECODING_BACKEND pyav"
        ) from None
    return VideoDecoder


def _tiny_video() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode())
    return file.getvalue()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
