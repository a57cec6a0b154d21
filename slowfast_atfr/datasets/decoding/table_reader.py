"""Frames by seeking: the table of frames gives the key frame to decode from, and every packet and frame is checked."""

import itertools
from collections import deque
from collections.abc import Collection, Iterator
from functools import partial

import av
import numpy as np

from slowfast_atfr.datasets.decoding.frame_reading import check_sound
from slowfast_atfr.datasets.decoding.packet_scan import PacketScan
from slowfast_atfr.datasets.decoding.to_rgb import ToRgb
from slowfast_atfr.datasets.decoding.video_file import VideoFile, as_decode_error


class TableContradicted(Exception):
    """Packets or decoded frames are not those of the table."""


class TableReader:
    """Reads the frames of a file by its table (`scan.table`)."""

    def __init__(self, file: VideoFile, scan: PacketScan, rgb: ToRgb) -> None:
        self._file, self._scan, self._table, self._rgb = file, scan, scan.table, rgb

    def frames(self, wanted: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the frames `wanted` (increasing); seek to the next key frame where that saves decoding."""
        table, times = self._table, set(self._table.pts[wanted].tolist())
        index, frames, damaged = -1, None, []
        waiting: deque[tuple[int, av.VideoFrame]] = deque()  # wanted, not yet known to be sound
        with as_decode_error(self._file.path):
            for target in wanted.tolist():
                entry = table.entry_for(target)
                if frames is None or table.first_from(entry) > index + 1:
                    damaged += self._damaged_ahead() if waiting else []
                    yield from self._sound(waiting, damaged)
                    frames, damaged = self.decoded_from(entry, times), []
                for index, frame in frames:  # continues after the last target
                    damaged += [index] if frame.is_corrupt else []
                    if index >= target:
                        break
                if index != target:
                    raise TableContradicted
                waiting.append((target, frame))
                yield from self._sound(waiting, damaged, index)
            damaged += self._damaged_ahead() if waiting else []
            yield from self._sound(waiting, damaged)

    def decoded_from(self, entry: int, times: Collection[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield (index, frame) from the key packet at time `entry` on, at least those shown at `times`.

        Raises:
            TableContradicted: if decoding cannot start there, or a packet or frame is not that of the table.
        """
        key, packets = self._entered_at(entry)
        following, passed = self._table.first_from(key.pts), set()
        for packet in itertools.chain([key], packets, [None]):  # None flushes the decoder
            if packet is not None and not self._scan.knows(packet):
                raise TableContradicted
            passes = packet is not None and packet.pts not in times and self._file.may_skip(packet)
            passed |= {self._table.index_of(packet.pts)} if passes else set()
            for frame in self._file.decode(packet, skip_unused=passes):
                index = self._table.index_of(frame.pts)
                if frame.pts is not None and frame.pts < key.pts and (index is None or index < following):
                    continue  # depends on frames before the key frame
                if index is None or index < following or not passed.issuperset(range(following, index)):
                    raise TableContradicted
                yield index, frame
                following = index + 1

    def _sound(
        self, waiting: deque[tuple[int, av.VideoFrame]], damaged: Collection[int], shown: int | None = None
    ) -> Iterator[np.ndarray]:
        """Pop the frames whose references have all been shown up to frame `shown` (None: all frames)."""
        while waiting and (shown is None or self._table.known_at(waiting[0][0]) <= shown):
            index, frame = waiting.popleft()
            check_sound(self._file.path, index, self._table.culprit(index, damaged))
            yield self._rgb(frame)

    def _entered_at(self, entry: int) -> tuple[av.Packet, Iterator[av.Packet]]:
        """Return the key packet at time `entry` or earlier, and the packets after it. Raises TableContradicted."""
        for go in (partial(self._file.seek, entry), self._file.rewind):
            go()
            packets = self._file.packets()
            key = next((packet for packet in packets if packet.is_keyframe), None)
            if key is not None and key.pts is not None and key.pts <= entry:
                return key, packets
            if entry > self._table.seekable[0]:  # an earlier start would not help
                break
        raise TableContradicted

    def _damaged_ahead(self) -> list[int]:
        """Flush the decoder; return the indices of its damaged frames that are not shown yet."""
        try:
            frames = self._file.decode(None)
        except av.FFmpegError:  # at the end, or damage that no wanted frame depends on
            return []
        indices = [self._table.index_of(frame.pts) for frame in frames if frame.is_corrupt]
        return [index for index in indices if index is not None]
