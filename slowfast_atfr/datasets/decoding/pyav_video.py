"""Frames of a video file at given indices, by PyAV.

Index i is the i-th frame in the order of presentation. Most containers store the presentation time of every packet, so
reading the packets (no decoding) gives the number of frames and the place of each; a clip then costs a seek to the key
frame before it and the decoding from there on. Every packet and every decoded frame is checked against the table: the
demuxers of some containers make up times, and others after a seek. On the way H.264's decoder passes over pictures that
nobody wants and no other picture is built on, as their packets say: no other picture may be missing. Only there, for
others may show nothing for a packet without an error, which only the check of every frame brings to light.

Where there is no such table (AVI stores no presentation times, some packets yield no frame), or where what is read
contradicts it, the whole video is decoded, once, and its frames are counted. So it is where a frame looks damaged after
a seek: that may be for want of what only the start of the file says.

A damaged stream: FFmpeg fills the holes of a picture from its neighbours and marks it, but not those that are built on
it. Here a frame that may be built on a marked one is an error, as is whatever the decoder reports as one. FFmpeg's
strictest setting (err_detect=explode) stays off: on 480 damaged copies of real files it found 6 of the 66 that still
gave wrong pixels, refused 12 that gave right ones, and files of old encoders break rules without harm. What is left
are bits that decode to something else just as well: streams carry no checksum of their pictures, or none that FFmpeg
checks.
"""

import functools
import itertools
import os
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

import av
import numpy as np

from slowfast_atfr.datasets.decoding.frame_reading import (
    DecodeError,
    FrameTransform,
    Miscounted,
    NumberedFrames,
    check_range,
    collect,
    in_one_size,
)
from slowfast_atfr.datasets.decoding.packet_scan import PacketScan, scan_packets
from slowfast_atfr.datasets.decoding.timeline import Timeline, timeline_of
from slowfast_atfr.datasets.decoding.to_rgb import ToRgb
from slowfast_atfr.datasets.decoding.video_file import VideoFile, as_decode_error

KEPT_BYTES = 128 * 2**20  # of frames that a video without a table keeps from being counted to being read


class TableContradicted(Exception):
    """The packets, or the decoded frames, are not those of the table."""


@dataclass(frozen=True)
class VideoInfo:
    """Frames that a video has, frames a second on average, and the size of the upright picture in pixels."""

    num_frames: int
    fps: float
    width: int
    height: int


@dataclass(frozen=True)
class _Counted:
    """A video decoded from end to end: times and what spoils each frame, and the first ones, as many as may be kept."""

    times: list[int | None]
    culprits: list[int | None]
    kept: list[av.VideoFrame]


class Video:
    """An open video file: `num_frames`, `timeline`, `info`, `read` and `frames`.

    counts: decode it to count its frames, do not trust packets.
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
        self._table, self._counts = self._scan.table, counts

    @functools.cached_property
    def num_frames(self) -> int:
        """How many frames it has. Raises DecodeError if there is none, or counting them fails."""
        count = self._scan.num_frames or len(self._counted.culprits)
        if not count:
            raise DecodeError(self.path, "no frame of it can be decoded")
        return count

    @functools.cached_property
    def outline(self) -> Timeline:
        """The timeline as far as it is known without decoding.

        Where packets tell nothing but their order there may be fewer frames than packets, and so than the outline has.
        """
        rate, packets = self._file.header_rate, self._scan.num_packets
        if self._scan.num_frames or not packets or not rate:
            return self.timeline
        return Timeline(packets, float(rate))

    @functools.cached_property
    def timeline(self) -> Timeline:
        """When each frame is shown. Raises DecodeError if nothing tells."""
        rate, num_frames = self._file.header_rate, self.num_frames
        if self.times is None:
            timeline = Timeline(num_frames, float(rate)) if rate else None
        else:
            timeline = timeline_of(*self.times, rate)
        if timeline is None:
            raise DecodeError(self.path, "it does not tell its frame rate")
        return timeline

    @property
    def fps(self) -> float:
        """Frames a second on average. Raises DecodeError if nothing tells."""
        return self.timeline.fps

    @functools.cached_property
    def info(self) -> VideoInfo:
        """Frames, rate and size; the size is that of the first frame, which is decoded for it."""
        _, height, width, _ = self.read([0]).shape
        return VideoInfo(self.num_frames, self.fps, width, height)

    @functools.cached_property
    def times(self) -> tuple[np.ndarray, Fraction] | None:
        """When each frame is shown, (F,) int64, increasing, and the seconds of that unit; None where nothing tells."""
        if self._scan.num_frames and self._scan.table is None:
            return None  # only their order was promised
        pts = self._counted.times if self._scan.table is None else self._scan.table.pts
        if None in pts or (np.diff(pts) <= 0).any():
            return None
        return np.asarray(pts), self._file.time_base

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
        return collect(self.frames, indices, transform)

    def frames(self, wanted: np.ndarray) -> NumberedFrames:
        """Yield (row, frame) for each frame as soon as it is decoded and known to be sound, (H, W, 3) uint8 RGB.

        Args:
            wanted: (T,) int64, increasing: numbers of the frames; row i is wanted[i].
        Raises:
            Miscounted, DecodeError: as `read`.
        """
        check_range(self.path, wanted, self.num_frames)
        return in_one_size(self.path, wanted, self._frames(wanted))

    def pass_by(self, wanted: np.ndarray) -> NumberedFrames:
        """As `frames`, in one pass and without counting first: it ends with the video, even where more is wanted."""
        if self._scan.num_frames or self._counts:
            return self.frames(wanted)
        return in_one_size(self.path, wanted, self._picked(wanted, self._file.straight()))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _frames(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """The frames at `wanted`: by the table as far as that goes, the others by counting."""
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
            except DecodeError:  # perhaps for want of what only the start of the file says
                yield from self._from_start(wanted[done:])
                return
        yield from self._counting(wanted[done:])

    def _from_start(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """The frames at `wanted` (increasing), decoded from the start, as many as there are if packets are right."""
        done = 0
        for frame in self._picked(wanted, self._file.straight()):
            yield frame
            done += 1
        if done < len(wanted):
            raise Miscounted(self.path, f"its packets promise {self.num_frames} frames, but there are fewer")

    def _seeking(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """The frames at `wanted` (increasing) by the table. Skips to the next key frame where that saves decoding."""
        table, times = self._table, set(self._table.pts[wanted].tolist())
        index, frames, damaged = -1, None, []
        waiting: deque[tuple[int, av.VideoFrame]] = deque()  # wanted, not known to be sound yet
        with as_decode_error(self.path):
            for target in wanted.tolist():
                entry = table.entry_for(target)
                if frames is None or table.first_from(entry) > index + 1:
                    damaged += self._damaged_ahead() if waiting else []
                    yield from self._sound(waiting, damaged)
                    frames, damaged = self._decoded_from(entry, times), []
                for index, frame in frames:  # goes on where the last target left it
                    damaged += [index] if frame.is_corrupt else []
                    if index >= target:
                        break
                if index != target:
                    raise TableContradicted
                waiting.append((target, frame))
                yield from self._sound(waiting, damaged, index)
            damaged += self._damaged_ahead() if waiting else []
            yield from self._sound(waiting, damaged)

    def _sound(
        self, waiting: deque[tuple[int, av.VideoFrame]], damaged: Collection[int], shown: int | None = None
    ) -> Iterator[np.ndarray]:
        """Take from the left the frames all of whose foundations are shown up to frame `shown`, None: all frames."""
        while waiting and (shown is None or self._table.known_at(waiting[0][0]) <= shown):
            index, frame = waiting.popleft()
            self._refuse_spoiled(index, self._table.culprit(index, damaged))
            yield self._rgb(frame)

    def _decoded_from(self, entry: int, times: Collection[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Indices and frames from the key packet at time `entry` on, at least those shown at `times`.

        Raises:
            TableContradicted: if the file cannot be entered there, or a packet or frame is not what the table has.
        """
        key, packets = self._entered_at(entry)
        following, passed = self._table.first_from(key.pts), set()
        for packet in itertools.chain([key], packets, [None]):  # the last one makes the decoder give what it holds back
            if packet is not None and not self._scan.knows(packet):
                raise TableContradicted
            passes = packet is not None and packet.pts not in times and self._file.may_pass_over(packet)
            passed |= {self._table.index_of(packet.pts)} if passes else set()
            for frame in self._file.decode(packet, passes_over=passes):
                index = self._table.index_of(frame.pts)
                if frame.pts is not None and frame.pts < key.pts and (index is None or index < following):
                    continue  # built on what stands before the key frame
                if index is None or index < following or not passed.issuperset(range(following, index)):
                    raise TableContradicted
                yield index, frame
                following = index + 1

    def _entered_at(self, entry: int) -> tuple[av.Packet, Iterator[av.Packet]]:
        """The key packet at time `entry`, or an earlier one, and the packets after it. Raises TableContradicted."""
        for go in (partial(self._file.seek, entry), self._file.rewind):
            go()
            packets = self._file.packets()
            key = next((packet for packet in packets if packet.is_keyframe), None)
            if key is not None and key.pts is not None and key.pts <= entry:
                return key, packets
            if entry > self._table.seekable[0]:  # it is not for want of a time before the first packet's
                break
        raise TableContradicted

    def _damaged_ahead(self) -> list[int]:
        """Damaged frames that are decoded already but not shown yet. Ends the decoding."""
        try:
            frames = self._file.decode(None)
        except av.FFmpegError:  # the end was reached, or packets that no wanted frame needs are broken
            return []
        indices = [self._table.index_of(frame.pts) for frame in frames if frame.is_corrupt]
        return [index for index in indices if index is not None]

    @functools.cached_property
    def _counted(self) -> _Counted:
        times, culprits, kept, size = [], [], [], 0
        with as_decode_error(self.path):
            for frame, culprit in self._file.straight():
                times.append(frame.pts)
                culprits.append(culprit)
                size += sum(plane.buffer_size for plane in frame.planes)
                if size <= KEPT_BYTES:
                    kept.append(frame)
            if not self._file.tells_times:
                times = self._file.order_times(len(times))
        return _Counted(times, culprits, kept)

    def _counting(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """The frames at `wanted` (increasing), counted from the start."""
        count, kept = len(self._counted.culprits), self._counted.kept
        if count != self.num_frames:
            raise Miscounted(self.path, f"its packets promise {self.num_frames} frames, but {count} can be decoded")
        enough = zip(kept, self._counted.culprits, strict=False) if wanted[-1] < len(kept) else None
        done = 0
        for frame in self._picked(wanted, enough or self._file.straight()):
            yield frame
            done += 1
        if done < len(wanted):
            raise DecodeError(self.path, f"frame {wanted[done]} can no longer be decoded; it could just now")

    def _picked(self, wanted: np.ndarray, frames: Iterable[tuple[av.VideoFrame, int | None]]) -> Iterator[np.ndarray]:
        """Those at `wanted` (increasing) of the frames from the start on, as far as there are any."""
        coming = iter(wanted.tolist())
        target = next(coming)
        with as_decode_error(self.path):
            for index, (frame, culprit) in enumerate(frames):
                if index == target:
                    if self._table is not None and frame.pts != self._table.pts[index]:
                        raise Miscounted(self.path, f"its packets promise another frame {index} than is decoded")
                    self._refuse_spoiled(index, culprit)
                    yield self._rgb(frame)
                    target = next(coming, None)
                    if target is None:
                        return

    def _refuse_spoiled(self, index: int, culprit: int | None) -> None:
        if culprit == index:
            raise DecodeError(self.path, f"frame {index} is damaged")
        if culprit is not None:
            raise DecodeError(self.path, f"frame {index} may be built on frame {culprit}, which is damaged")
