"""Frames of a video file at given indices, by torchcodec, the optional backend (DATA.DECODING_BACKEND torchcodec)."""

import functools
import io
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from slowfast_atfr.config import ConfigError
from slowfast_atfr.datasets.decoding.frame_reading import DecodeError
from slowfast_atfr.datasets.decoding.pyav_video import Video
from slowfast_atfr.datasets.decoding.table_reader import TableContradicted, TableReader
from slowfast_atfr.datasets.decoding.to_rgb import display_matrix, is_mirrored

FRAMES_AT_A_TIME = 16  # full frames in memory before `transform`


class TorchcodecVideo(Video):
    """A `Video` whose frames torchcodec decodes if packets have times.

    Frames and their numbers are the same. Pixels of 8-bit videos of even size differ by at most 2 of 255. With odd
    sizes or more bits the conversions to RGB differ: the colour of fine detail changes, by 3 of 255 on average for
    noise. Videos without a table of frames (AVI) and mirrored ones are read by PyAV, since torchcodec counts packets
    and rotates but does not mirror. It does not detect damaged pictures.
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
        reader = TableReader(self._file, self._scan, self._rgb)
        _, first = next(reader.decoded_from(int(self._table.seekable[0]), set()))
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
    """Return torchcodec's VideoDecoder, after it has decoded a video of one frame.

    Raises:
        ConfigError: if torchcodec is missing, or finds no FFmpeg that it can load.
    """
    try:
        from torchcodec.decoders import VideoDecoder

        VideoDecoder(_tiny_video(), **_OPTIONS).get_frames_at([0])
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        reason = ": ".join(_first_line(e) for e in (error, error.__cause__) if e is not None)
        raise ConfigError(
            f"DATA.DECODING_BACKEND is 'torchcodec', which does not load: {reason}. It needs "
            "pip install 'slowfast_atfr[torchcodec]', for the installed version of torch, and FFmpeg's shared "
            "libraries on the system's path; or choose DATA.DECODING_BACKEND pyav"
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
