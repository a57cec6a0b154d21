"""Frames of a video file at given indices. The one way from a file to pictures for all data sets.

Index i is the i-th frame in the order of presentation. Most containers store the presentation time of every packet, so
reading the packets (no decoding) gives the number of frames and the place of each; a clip then costs a seek to the key
frame before it and the decoding from there on, and every decoded frame is checked against the table. Where there is no
such table (AVI stores no presentation times, some packets yield no frame), or where the decoded frames contradict it,
frames are counted from the start.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from slowfast_atfr.datasets.frame_table import FrameTable, build_table

_PYAV = int(av.__version__.partition(".")[0])
_ODD_METADATA = {"metadata_errors": "ignore"} if _PYAV < 19 else {}  # from 19 on titles in any encoding are accepted
_ONE_THREAD = {"threads": 1} if _PYAV >= 17 else {}  # until 17 colours were always converted in one

FrameTransform = Callable[[np.ndarray], np.ndarray]


class DecodeError(RuntimeError):
    """A video, or frames of it, that cannot be read. `path` and `reason` say which and why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class _TableContradicted(Exception):
    """The decoded frames are not those that the packets promised."""


@dataclass(frozen=True)
class VideoInfo:
    """Frames that a video has, frames a second on average, and the size of the upright picture in pixels."""

    num_frames: int
    fps: float
    width: int
    height: int


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
    with open_video(path) as video:
        return video.read(indices)


def probe(path: str | os.PathLike) -> VideoInfo:
    """What a video file holds. Decodes its first frame. Raises DecodeError if it cannot."""
    with open_video(path) as video:
        return video.info


@contextmanager
def open_video(path: str | os.PathLike) -> Iterator["Video"]:
    """A video, opened once for everything that is read of it. Raises DecodeError if it cannot be."""
    video = Video(path)
    try:
        yield video
    finally:
        video.close()


class Video:
    """An open video file: `num_frames`, `fps`, `info`, and `read`."""

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = os.fspath(path)
        self._reformatter = VideoReformatter()
        with _as_decode_error(self.path):
            self._container = self._stream = None
            self._reopen()
            try:
                self._table = self._read_table()
                self.num_frames = len(self._table) if self._table else sum(1 for _ in self._decoded())
                self.fps = self._frame_rate()
            except BaseException:
                self.close()
                raise
        if not self.num_frames:
            raise DecodeError(self.path, "no frame of it can be decoded")

    @functools.cached_property
    def info(self) -> VideoInfo:
        """Frames, rate and size; the size is that of the first frame, which is decoded for it."""
        _, height, width, _ = self.read([0]).shape
        return VideoInfo(self.num_frames, self.fps, width, height)

    def read(self, indices: Sequence[int] | np.ndarray, transform: FrameTransform | None = None) -> np.ndarray:
        """Frames in the order of `indices`, each decoded once.

        Args:
            indices: (T,) frame numbers, repeats allowed.
            transform: what becomes of each (H, W, 3) uint8 RGB frame as soon as it is decoded, such as a crop, so that
                full pictures are not kept; its results have one shape.
        Returns:
            (T, H, W, 3) uint8 RGB, or (T, ...) of what transform returns.
        Raises:
            DecodeError: if not all of them can be decoded.
        """
        check_range(self.path, indices, self.num_frames)
        with _as_decode_error(self.path):
            if self._table is not None:
                try:
                    return gather(self.path, indices, self._seeking, transform)
                except _TableContradicted:
                    self._table = None
            return gather(self.path, indices, self._counting, transform)

    def close(self) -> None:
        """Let go of the file."""
        if self._container is not None:
            self._container.close()

    def _reopen(self) -> None:
        """Stand at the start of the file."""
        self.close()
        self._container = av.open(self.path, **_ODD_METADATA)
        pictures = [stream for stream in self._container.streams.video if not _is_cover(stream)]
        if not pictures:
            raise DecodeError(self.path, "it has no video stream")
        self._stream = pictures[0]
        if self._stream.codec_context is None:
            raise DecodeError(self.path, "there is no decoder for its video stream")
        self._stream.codec_context.thread_count = 1  # data loading runs as many processes as there are cores

    def _packets(self) -> Iterator[av.Packet]:
        """The stream's packets from where the file stands. One that the container calls damaged or cut ends it."""
        for packet in self._container.demux(self._stream):
            if packet.is_corrupt:
                return
            if packet.size:
                yield packet

    def _read_table(self) -> FrameTable | None:
        if self._container.format.name == "avi":  # its times are guesses of the demuxer
            return None
        table = build_table((packet.pts, packet.is_keyframe, packet.is_discard) for packet in self._packets())
        if table is None:
            self._reopen()
        return table

    def _frame_rate(self) -> float:
        rate = self._stream.average_rate or self._stream.guessed_rate
        if not rate:
            raise DecodeError(self.path, "it does not tell its frame rate")
        return float(rate)

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Every frame from where the file stands."""
        for packet in self._packets():
            yield from self._stream.decode(packet)
        yield from self._stream.decode(None)

    def _counting(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """The frames at `wanted` (increasing), counted from the start."""
        self._reopen()
        targets = iter(wanted)
        target = next(targets)
        count = 0
        for count, frame in enumerate(self._decoded(), start=1):
            if count - 1 == target:
                yield self._rgb(frame, target)
                target = next(targets, None)
                if target is None:
                    return
        raise DecodeError(self.path, f"frame {target} is wanted, but only {count} can be decoded")

    def _seeking(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """The frames at `wanted` (increasing) by the table. Skips to the next key frame where that saves decoding."""
        index, frames = -1, None
        for target in wanted:
            entry = self._table.entry_for(target)
            if frames is None or self._table.first_from(entry) > index + 1:
                frames = self._decoded_from(entry)
            for index, frame in frames:  # goes on where the last target left it
                if index == target:
                    yield self._rgb(frame, target)
                    break
            else:
                raise _TableContradicted

    def _decoded_from(self, entry: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Indices and frames from the key packet at time `entry` on.

        Raises:
            _TableContradicted: if the file cannot be entered there, or a frame is not the one that the table has next.
        """
        self._container.seek(entry, stream=self._stream)
        packets = self._packets()
        key = next((packet for packet in packets if packet.is_keyframe), None)
        if key is None or key.pts is None or key.pts > entry:
            raise _TableContradicted
        index = self._table.first_from(key.pts)
        for packet in _chain(key, packets):
            for frame in self._stream.decode(packet):
                if index == len(self._table) or frame.pts != self._table.pts[index]:
                    raise _TableContradicted
                yield index, frame
                index += 1

    def _rgb(self, frame: av.VideoFrame, index: int) -> np.ndarray:
        """(H, W, 3) uint8, upright."""
        if frame.is_corrupt:
            raise DecodeError(self.path, f"frame {index} is damaged")
        rgb = self._reformatter.reformat(frame, format="rgb24", **_ONE_THREAD).to_ndarray()
        return np.ascontiguousarray(np.rot90(rgb, round(frame.rotation / 90))) if frame.rotation else rgb


def check_range(path: str, indices: Sequence[int] | np.ndarray, num_frames: int) -> None:
    """Raise ValueError if there are no indices, DecodeError if one of them is no frame of the video."""
    if not len(indices):
        raise ValueError(f"no frame of {path} is asked for")
    for index in (np.min(indices), np.max(indices)):
        if not 0 <= index < num_frames:
            raise DecodeError(path, f"frame {index} is wanted, but it has frames 0 to {num_frames - 1}")


def gather(
    path: str,
    indices: Sequence[int] | np.ndarray,
    frames_at: Callable[[np.ndarray], Iterator[np.ndarray]],
    transform: FrameTransform | None,
) -> np.ndarray:
    """Frames in the order of `indices` from a function that yields them in increasing order, each once.

    Raises:
        DecodeError: naming `path`, if the size of the picture changes.
    """
    wanted, where = np.unique(np.asarray(indices, np.int64), return_inverse=True)
    out, shape = None, None
    for row, frame in enumerate(frames_at(wanted)):
        if shape is not None and frame.shape != shape:
            seen = f"{frame.shape[1]}x{frame.shape[0]} after {shape[1]}x{shape[0]}"
            raise DecodeError(path, f"the size of the picture changes at frame {wanted[row]}: {seen}")
        shape = frame.shape
        result = frame if transform is None else transform(frame)
        if out is None:
            out = np.empty((len(wanted), *result.shape), result.dtype)
        out[row] = result
    return out if np.array_equal(wanted, indices) else out[where]


def _is_cover(stream: av.VideoStream) -> bool:
    """Whether a stream is a still picture that goes with the file, such as a cover."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _chain(first: av.Packet, rest: Iterator[av.Packet]) -> Iterator[av.Packet | None]:
    """A packet, those after it, and the end mark that makes the decoder give what it holds back."""
    yield first
    yield from rest
    yield None


@contextmanager
def _as_decode_error(path: str) -> Iterator[None]:
    """Whatever a broken file makes PyAV raise, as a DecodeError that names it."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError) as error:
        raise DecodeError(path, getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
