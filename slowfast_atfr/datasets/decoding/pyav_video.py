"""Frames of a video file at given indices, by PyAV.

Index i is the i-th frame in presentation order. Most containers store the presentation time of every packet, so reading
the packets (without decoding) gives a table of all frames. A clip then costs a seek to the key frame before it and
decoding from there. Every packet and decoded frame is checked against the table, since some demuxers invent times, or
change them after a seek. With H.264 the decoder skips unwanted pictures that no other picture depends on; no other
frame may then be missing. Other codecs do not skip: they may drop a frame without an error, which only the check of
every frame finds.

Without such a table (AVI stores no presentation times, some packets give no frame), or if it is contradicted, the whole
video is decoded once and its frames are counted. If a frame looks damaged after a seek, the video is decoded from the
start, since the decoder may need data that only the start of the file has.

Damaged streams: FFmpeg conceals errors in a picture and marks it, but not the pictures that depend on it. Here a frame
that may depend on a marked one is an error, and so are errors of the decoder. FFmpeg's strictest setting
(err_detect=explode) is off: on 480 damaged copies of real files it found 6 of the 66 that still gave wrong pixels,
refused 12 that gave right ones, and files of old encoders break rules harmlessly. Damage that decodes to other valid
pictures remains undetected: streams have no checksum that FFmpeg checks.
"""

import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np

from slowfast_atfr.datasets.decoding.frame_reading import (
    DecodeError,
    FrameTransform,
    Miscounted,
    NumberedFrames,
    check_range,
    check_sound,
    collect,
    in_one_size,
)
from slowfast_atfr.datasets.decoding.packet_scan import PacketScan, scan_packets
from slowfast_atfr.datasets.decoding.table_reader import TableContradicted, TableReader
from slowfast_atfr.datasets.decoding.timeline import Timeline, timeline_of
from slowfast_atfr.datasets.decoding.to_rgb import ToRgb
from slowfast_atfr.datasets.decoding.video_file import VideoFile, as_decode_error

KEPT_BYTES = 128 * 2**20  # of frames kept from counting a video without a table until they are read


@dataclass(frozen=True)
class VideoInfo:
    """Number of frames, mean frame rate, and size of the upright picture in pixels."""

    num_frames: int
    fps: float
    width: int
    height: int


@dataclass(frozen=True)
class _Counted:
    """A completely decoded video: time and culprit (see corruption.py) of each frame, and the first frames."""

    times: list[int | None]
    culprits: list[int | None]
    kept: list[av.VideoFrame]


class Video:
    """An open video file: `num_frames`, `timeline`, `info`, `read` and `frames`.

    counts: count frames by decoding the whole video, instead of its packets.
    """

    def __init__(self, path: str | os.PathLike, *, counts: bool = False) -> None:
        self.path = os.fspath(path)
        self._rgb = ToRgb()
        with as_decode_error(self.path):
            self._file = VideoFile(self.path)
            try:
                self._scan = PacketScan() if counts else scan_packets(self._file)
            except BaseException:
                self.close()
                raise
        self._table, self._counts = self._scan.table, counts  # no table once it was contradicted

    @functools.cached_property
    def num_frames(self) -> int:
        """The number of frames. Raises DecodeError if there are none, or counting fails."""
        count = self._scan.num_frames or len(self._counted.culprits)
        if not count:
            raise DecodeError(self.path, "no frame of it can be decoded")
        return count

    @functools.cached_property
    def timeline_estimate(self) -> Timeline:
        """The timeline known without decoding.

        If packets only have an order, there may be fewer frames than packets, and so than in this estimate.
        """
        rate, packets = self._file.header_rate, self._scan.num_packets
        if self._scan.num_frames or not packets or not rate:
            return self.timeline
        return Timeline(packets, float(rate))

    @functools.cached_property
    def timeline(self) -> Timeline:
        """When each frame is shown. Raises DecodeError if it is unknown."""
        rate, num_frames = self._file.header_rate, self.num_frames
        if self.times is None:
            timeline = Timeline(num_frames, float(rate)) if rate else None
        else:
            timeline = timeline_of(*self.times, rate)
        if timeline is None:
            raise DecodeError(self.path, "its frame rate is unknown")
        return timeline

    @property
    def fps(self) -> float:
        """Mean frame rate. Raises DecodeError if it is unknown."""
        return self.timeline.fps

    @functools.cached_property
    def info(self) -> VideoInfo:
        """Number of frames, rate, and size of the first frame, which is decoded."""
        _, height, width, _ = self.read([0]).shape
        return VideoInfo(self.num_frames, self.fps, width, height)

    @functools.cached_property
    def times(self) -> tuple[np.ndarray, Fraction] | None:
        """Increasing presentation times of the frames, (F,) int64, and their unit in seconds; None if unknown."""
        if self._scan.num_frames and self._scan.table is None:
            return None  # packets have only an order
        pts = self._counted.times if self._scan.table is None else self._scan.table.pts
        if None in pts or (np.diff(pts) <= 0).any():
            return None
        return np.asarray(pts), self._file.time_base

    def read(self, indices: Sequence[int] | np.ndarray, transform: FrameTransform | None = None) -> np.ndarray:
        """Return frames in the order of `indices`, each decoded once.

        Args:
            indices: (T,) frame numbers, repeats allowed.
            transform: applied to each (H, W, 3) uint8 RGB frame as soon as it is decoded, such as a crop, so that full
                frames are not kept; its results have one shape.
        Returns:
            (T, H, W, 3) uint8 RGB, or (T, ...) of transform's results.
        Raises:
            Miscounted: if `num_frames` turns out to be wrong.
            DecodeError: if a frame cannot be decoded or is damaged.
        """
        return collect(self.frames, indices, transform)

    def frames(self, wanted: np.ndarray) -> NumberedFrames:
        """Yield (row, frame) as soon as a frame is decoded and known to be sound, (H, W, 3) uint8 RGB.

        Args:
            wanted: (T,) int64, increasing frame numbers; row i is wanted[i].
        Raises:
            Miscounted, DecodeError: as `read`.
        """
        check_range(self.path, wanted, self.num_frames)
        return in_one_size(self.path, wanted, self._frames(wanted))

    def frames_in_one_pass(self, wanted: np.ndarray) -> NumberedFrames:
        """As `frames`, in one pass without counting first: it ends with the video, even if later frames are wanted."""
        if self._scan.num_frames or self._counts:
            return self.frames(wanted)
        return in_one_size(self.path, wanted, self._picked(wanted, self._file.decode_all()))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _frames(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the frames `wanted`, by the table until it is contradicted, then by counting."""
        done = 0
        if self._scan.num_frames and self._scan.table is None:
            yield from self._from_start(wanted)
            return
        if self._table is not None:
            try:
                for frame in self._seeking(wanted):
                    yield frame
                    done += 1
                return
            except TableContradicted:
                self._table = None
            except DecodeError:  # the decoder may need data from the start of the file
                yield from self._from_start(wanted[done:])
                return
        yield from self._counting(wanted[done:])

    def _from_start(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the frames `wanted` (increasing), decoded from the start; Miscounted if there are fewer."""
        done = 0
        for frame in self._picked(wanted, self._file.decode_all()):
            yield frame
            done += 1
        if done < len(wanted):
            raise Miscounted(self.path, f"it has fewer frames than the {self.num_frames} of its packets")

    def _seeking(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        return TableReader(self._file, self._scan, self._rgb).frames(wanted)

    @functools.cached_property
    def _counted(self) -> _Counted:
        times, culprits, kept, size = [], [], [], 0
        with as_decode_error(self.path):
            for frame, culprit in self._file.decode_all():
                times.append(frame.pts)
                culprits.append(culprit)
                size += sum(plane.buffer_size for plane in frame.planes)
                if size <= KEPT_BYTES:
                    kept.append(frame)
            if not self._file.has_times:
                times = self._file.order_times(len(times))
        return _Counted(times, culprits, kept)

    def _counting(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the frames `wanted` (increasing), counted from the start."""
        count, kept = len(self._counted.culprits), self._counted.kept
        if count != self.num_frames:
            raise Miscounted(self.path, f"its packets have {self.num_frames} frames, but {count} can be decoded")
        enough = zip(kept, self._counted.culprits, strict=False) if wanted[-1] < len(kept) else None
        done = 0
        for frame in self._picked(wanted, enough or self._file.decode_all()):
            yield frame
            done += 1
        if done < len(wanted):
            raise DecodeError(self.path, f"frame {wanted[done]} cannot be decoded a second time")

    def _picked(self, wanted: np.ndarray, frames: Iterable[tuple[av.VideoFrame, int | None]]) -> Iterator[np.ndarray]:
        """Yield those `wanted` (increasing) of all frames, until the end of the video."""
        coming = iter(wanted.tolist())
        target = next(coming)
        with as_decode_error(self.path):
            for index, (frame, culprit) in enumerate(frames):
                if index == target:
                    if self._table is not None and frame.pts != self._table.pts[index]:
                        raise Miscounted(self.path, f"its packets have another frame {index} than is decoded")
                    check_sound(self.path, index, culprit)
                    yield self._rgb(frame)
                    target = next(coming, None)
                    if target is None:
                        return
