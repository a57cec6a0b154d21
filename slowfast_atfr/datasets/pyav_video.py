"""Frames of a video file at given indices, by PyAV.

Index i is the i-th frame in the order of presentation. Most containers store the presentation time of every packet, so
reading the packets (no decoding) gives the number of frames and the place of each; a clip then costs a seek to the key
frame before it and the decoding from there on, and every decoded frame is checked against the table. On the way H.264's
decoder passes over pictures that nobody wants and no other picture is built on, as their packets say: no other picture
may be missing. Only there, for others may show nothing for a packet without an error, which only the check of every
frame brings to light. Where there is no such table (AVI stores no presentation times, some packets yield no frame), or
where the decoded frames contradict it, the whole video is decoded, once, and its frames are counted.

A damaged stream: FFmpeg fills the holes of a picture from its neighbours and marks it, but not those that are built on
it. Here a frame that may be built on a marked one is an error, as is whatever the decoder reports as one. FFmpeg's
strictest setting (err_detect=explode) stays off: on 480 damaged copies of real files it found 6 of the 66 that still
gave wrong pixels, refused 12 that gave right ones, and files of old encoders break rules without harm. What is left
are bits that decode to something else just as well: streams carry no checksum of their pictures, or none that FFmpeg
checks.
"""

import functools
import gc
import itertools
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.frame import PictureType

from slowfast_atfr.datasets.damage import FrameKind, culprits
from slowfast_atfr.datasets.frame_reading import (
    DecodeError,
    FrameTransform,
    Miscounted,
    Take,
    check_range,
    collect,
    visit,
)
from slowfast_atfr.datasets.frame_table import FrameTable, build_table
from slowfast_atfr.datasets.h264 import is_disposable, length_size_of
from slowfast_atfr.datasets.picture import ToRgb

_ODD_METADATA = {"metadata_errors": "ignore"} if int(av.__version__.partition(".")[0]) < 19 else {}  # titles, later on
KEPT_BYTES = 128 * 2**20  # of frames that a video without a table keeps from being counted to being read
_EARLIEST = -(2**63)  # a time before all others


class TableContradicted(Exception):
    """The decoded frames are not those that the packets promised."""


@dataclass(frozen=True)
class VideoInfo:
    """Frames that a video has, frames a second on average, and the size of the upright picture in pixels."""

    num_frames: int
    fps: float
    width: int
    height: int


@dataclass(frozen=True)
class _Counted:
    """A video decoded from end to end: what spoils each frame, and the first frames, as many as may be kept."""

    culprits: list[int | None]
    kept: list[av.VideoFrame]


class Video:
    """An open video file: `num_frames`, `fps`, `info`, and `read`. counts: decode it to count, do not trust packets."""

    def __init__(self, path: str | os.PathLike, *, counts: bool = False) -> None:
        self.path = os.fspath(path)
        self._rgb = ToRgb()
        self._container = self._stream = None
        with _as_decode_error(self.path):
            try:
                self._reopen()
                self._passes_over = self._stream.codec_context.name == "h264"
                self._length_size = length_size_of(self._stream.codec_context.extradata) if self._passes_over else 0
                self._table = None if counts else self._read_table()
                self.num_frames = len(self._table or self._counted.culprits)
            except BaseException:
                self.close()
                raise
        if not self.num_frames:
            raise DecodeError(self.path, "no frame of it can be decoded")

    @functools.cached_property
    def fps(self) -> float:
        """Frames a second on average. Raises DecodeError if nothing tells."""
        rate, table = self._stream.average_rate, self._table
        if not rate and table and len(table) > 1:
            rate = (len(table) - 1) / (int(table.pts[-1] - table.pts[0]) * self._stream.time_base)
        rate = rate or self._stream.guessed_rate
        if not rate:
            raise DecodeError(self.path, "it does not tell its frame rate")
        return float(rate)

    @functools.cached_property
    def info(self) -> VideoInfo:
        """Frames, rate and size; the size is that of the first frame, which is decoded for it."""
        _, height, width, _ = self.read([0]).shape
        return VideoInfo(self.num_frames, self.fps, width, height)

    @property
    def times(self) -> tuple[np.ndarray, Fraction] | None:
        """When each frame is shown, (F,) int64, and the seconds of that unit; None where packets do not tell."""
        return None if self._table is None else (self._table.pts, self._stream.time_base)

    def read(self, indices: Sequence[int] | np.ndarray, transform: FrameTransform | None = None) -> np.ndarray:
        """Frames in the order of `indices`, each decoded once.

        Args:
            indices: (T,) frame numbers, repeats allowed.
            transform: what becomes of each (H, W, 3) uint8 RGB frame as soon as it is decoded, such as a crop, so that
                full pictures are not kept; its results have one shape.
        Returns:
            (T, H, W, 3) uint8 RGB, or (T, ...) of what transform returns.
        Raises:
            Miscounted: if it turns out that `num_frames` is wrong.
            DecodeError: if not all of them can be decoded soundly.
        """
        return collect(self.visit, indices, transform)

    def visit(self, wanted: np.ndarray, take: Take) -> None:
        """Give each frame to `take(row, frame)` as soon as it is decoded, (H, W, 3) uint8 RGB.

        Args:
            wanted: (T,) int64, increasing: numbers of the frames; row i is wanted[i].
            take: keeps nothing but copies. Where packets turn out to promise other frames it is called from row 0 on
                again.
        Raises:
            Miscounted, DecodeError: as `read`.
        """
        check_range(self.path, wanted, self.num_frames)
        while self._table is not None:
            try:
                visit(self.path, wanted, self._seeking, take)
                return
            except TableContradicted:
                if self._passes_over:  # perhaps it is a decoder that needs every packet
                    self._passes_over = False
                else:
                    self._table = None
        visit(self.path, wanted, self._counting, take)

    def close(self) -> None:
        """Let go of the file."""
        if self._container is not None:
            self._container.close()
        gc.collect(1)  # the frame whose side data were asked for, and with it the decoder's pictures: see ToRgb

    def _reopen(self) -> None:
        """Stand at the start of the file."""
        if self._container is not None:
            self._container.close()
        is_here = os.path.exists(self.path)  # a name such as a:b.mp4 is not one of FFmpeg's protocols then
        self._container = av.open(f"file:{self.path}" if is_here else self.path, **_ODD_METADATA)
        pictures = [stream for stream in self._container.streams.video if not _is_cover(stream)]
        if not pictures:
            raise DecodeError(self.path, "it has no video stream")
        self._stream = pictures[0]
        if self._stream.codec_context is None:
            raise DecodeError(self.path, "there is no decoder for its video stream")
        self._stream.codec_context.thread_count = 1  # data loading runs as many processes as there are cores
        self._stream.codec_context.open(strict=False)  # before skip_frame is set, which some decoders read only here

    def _packets(self) -> Iterator[av.Packet]:
        """The stream's packets from where the file stands, without one that is cut off by the end of the file."""
        last = None
        try:
            for packet in self._container.demux(self._stream):
                if packet.size:
                    if last is not None:
                        yield last
                    last = packet
        except IndexError:  # PyAV knows those streams only that it has found at the start
            raise DecodeError(self.path, "a stream begins in the middle of it") from None
        if last is not None and not last.is_corrupt:
            yield last

    def _read_table(self) -> FrameTable | None:
        if self._container.format.name == "avi":  # its times are guesses of the demuxer
            return None
        is_hidden = _is_hidden_vp8 if self._stream.codec_context.name == "vp8" else lambda packet: packet.is_discard
        table = build_table(
            # transport streams tell of holes in a packet: whether it is a frame, and which, is then to be seen
            (None if packet.is_corrupt else packet.pts, packet.is_keyframe, is_hidden(packet))
            for packet in self._packets()
        )
        if table is None:
            self._reopen()
        return table

    def _seeking(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """The frames at `wanted` (increasing) by the table. Skips to the next key frame where that saves decoding."""
        times = set(self._table.pts[wanted].tolist())
        index, frames, damaged = -1, None, []
        with _as_decode_error(self.path):
            for target in wanted:
                entry = self._table.entry_for(target)
                if frames is None or self._table.first_from(entry) > index + 1:
                    damaged += self._damaged_ahead(index)
                    frames = self._decoded_from(entry, times)
                for index, frame in frames:  # goes on where the last target left it
                    damaged += [index] if frame.is_corrupt else []
                    if index >= target:
                        break
                if index != target:
                    raise TableContradicted
                yield self._rgb(frame)
            damaged += self._damaged_ahead(index)
            for target in wanted if damaged else ():
                self._refuse_spoiled(target, self._table.culprit(target, damaged))

    def _decoded_from(self, entry: int, times: Collection[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Indices and frames from the key packet at time `entry` on, at least those shown at `times`.

        Raises:
            TableContradicted: if the file cannot be entered there, or a frame is not the one that the table has next.
        """
        self._container.seek(entry, stream=self._stream)
        packets = self._packets()
        key = next((packet for packet in packets if packet.is_keyframe), None)
        if key is None or key.pts is None or key.pts > entry:
            raise TableContradicted
        following, passed = self._table.first_from(key.pts), set()
        for packet in itertools.chain([key], packets, [None]):  # the last one makes the decoder give what it holds back
            passes = packet is not None and packet.pts not in times and self._may_pass_over(packet)
            passed |= {self._table.index_of(packet.pts)} if passes else set()
            self._stream.codec_context.skip_frame = "NONREF" if passes else "DEFAULT"  # which hides errors, too
            for frame in self._stream.decode(packet):
                if frame.pts is not None and frame.pts < key.pts:
                    continue  # built on what stands before the key frame
                index = self._table.index_of(frame.pts)
                if index is None or index < following or not passed.issuperset(range(following, index)):
                    raise TableContradicted
                yield index, frame
                following = index + 1

    def _may_pass_over(self, packet: av.Packet) -> bool:
        return self._passes_over and is_disposable(bytes(packet), self._length_size)

    def _damaged_ahead(self, index: int) -> list[int]:
        """Damaged frames that are decoded before a frame up to `index` but shown after it. Ends the decoding."""
        if not self._table.looks_ahead(index):
            return []
        try:
            frames = self._stream.decode(None)
        except av.FFmpegError:  # the end was reached, or packets that no wanted frame needs are broken
            return []
        indices = [self._table.index_of(frame.pts) for frame in frames if frame.is_corrupt]
        return [index for index in indices if index is not None]

    @functools.cached_property
    def _counted(self) -> _Counted:
        kinds, kept, size = [], [], 0
        with _as_decode_error(self.path):
            for frame, is_damaged in self._decoded():
                kinds.append(FrameKind(frame.key_frame, frame.pict_type == PictureType.B, is_damaged))
                size += sum(plane.buffer_size for plane in frame.planes)
                if size <= KEPT_BYTES:
                    kept.append(frame)
        return _Counted(culprits(kinds), kept)

    def _decoded(self) -> Iterator[tuple[av.VideoFrame, bool]]:
        """Every frame of the file, and whether it is damaged: so marked, or the first from the time of a hole on."""
        self._reopen()
        holes = []
        for packet in itertools.chain(self._packets(), [None]):
            if packet is not None and packet.is_corrupt:
                holes.append(_EARLIEST if packet.pts is None else packet.pts)
            for frame in self._stream.decode(packet):
                here = [hole for hole in holes if frame.pts is None or hole <= frame.pts]
                holes = [hole for hole in holes if hole not in here]
                yield frame, frame.is_corrupt or bool(here)

    def _counting(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """The frames at `wanted` (increasing), counted from the start."""
        count, kept = len(self._counted.culprits), self._counted.kept
        if count != self.num_frames:
            raise Miscounted(self.path, f"its packets promise {self.num_frames} frames, but {count} can be decoded")
        with _as_decode_error(self.path):
            for target in wanted:
                self._refuse_spoiled(target, self._counted.culprits[target])
            frames = enumerate(kept if wanted[-1] < len(kept) else (frame for frame, _ in self._decoded()))
            for target in wanted:
                frame = next((frame for index, frame in frames if index == target), None)
                if frame is None:
                    raise DecodeError(self.path, f"frame {target} can no longer be decoded; it could just now")
                yield self._rgb(frame)

    def _refuse_spoiled(self, index: int, culprit: int | None) -> None:
        if culprit == index:
            raise DecodeError(self.path, f"frame {index} is damaged")
        if culprit is not None:
            raise DecodeError(self.path, f"frame {index} may be built on frame {culprit}, which is damaged")


def _is_hidden_vp8(packet: av.Packet) -> bool:
    """Whether it holds a picture that others are built on and nobody sees: show_frame is off (RFC 6386, 9.1)."""
    return packet.is_discard or not memoryview(packet)[0] >> 4 & 1


def _is_cover(stream: av.VideoStream) -> bool:
    """Whether a stream is a still picture that goes with the file, such as a cover."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


@contextmanager
def _as_decode_error(path: str) -> Iterator[None]:
    """Whatever a broken file makes PyAV raise, as a DecodeError that names it."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError, ArithmeticError, MemoryError) as error:
        raise DecodeError(path, getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
