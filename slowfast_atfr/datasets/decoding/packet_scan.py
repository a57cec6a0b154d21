"""What the packets of a file promise, read once from end to end without decoding."""

import zlib
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass

import av

from slowfast_atfr.datasets.decoding.frame_table import FrameTable, build_table, leading_times
from slowfast_atfr.datasets.decoding.video_file import VideoFile

Identity = Callable[[av.Packet], Hashable]


def by_place(packet: av.Packet) -> Hashable:
    """What tells a packet from all others of its stream in most containers: time, place in the file, and size."""
    return packet.pts, packet.pos, packet.size


def by_content(packet: av.Packet) -> Hashable:
    """The same where several packets share a place, as in MPEG program streams and ASF."""
    return packet.pts, packet.size, zlib.crc32(packet)


@dataclass(frozen=True)
class PacketScan:
    """What is known of a video without decoding.

    table: of its frames. num_frames: how many there are, where packets promise that much. num_packets: how many packets
    there are, one after the other, where they tell no time. known: all packets of the table, by `identity`.
    """

    table: FrameTable | None = None
    num_frames: int | None = None
    num_packets: int | None = None
    known: frozenset[Hashable] = frozenset()
    identity: Identity = by_place

    def knows(self, packet: av.Packet) -> bool:
        """Whether a packet is one of those that the table was made of: after a seek some demuxers stamp others."""
        return self.identity(packet) in self.known


def scan_packets(file: VideoFile) -> PacketScan:
    """Read the packets of a file that stands at its start. Raises PyAV's errors, and DecodeError."""
    rows, places, kinds, order = [], [], [], []
    for packet in file.packets():
        if not rows:
            file.prepare_to_enter(packet)
        if not file.tells_times:
            kinds.append(file.picture_kinds(packet))
            order.append(packet.dts)
        # transport streams tell of holes in a packet: whether it is a frame, and which, is then to be seen
        pts = None if packet.is_corrupt else packet.pts
        rows.append((pts, packet.is_keyframe, kinds[-1] == "" if kinds else file.is_hidden(packet)))
        places.append(by_place(packet))
    if not set(kinds) <= {"", "I", "P", "S"}:  # else the order of decoding is that of the frames
        return _scan_of_order(kinds, order)
    leading = leading_times(rows)
    table = build_table(rows, _shown_of(leading, file) if leading else ())
    if table is None:
        untimed = rows and all(pts is None for pts, *_ in rows)
        return PacketScan(num_packets=len(rows) if untimed else None)
    if len({place[1:] for place in places}) == len(places):
        return PacketScan(table, len(table), known=frozenset(places))
    file.rewind()
    return PacketScan(table, len(table), known=frozenset(map(by_content, file.packets())), identity=by_content)


def _scan_of_order(kinds: list[str | None], order: list[int | None]) -> PacketScan:
    """What packets promise by the kinds of their pictures and the numbers that their container counts them by."""
    if None in order or order != list(range(order[0], order[0] + len(order))):  # a pause, whose place is to be seen
        return PacketScan()
    if None in kinds:
        return PacketScan(num_packets=len(order))
    unshown = max(0, len(kinds[-1]) - 1)  # the decoder gives the second picture of a packet with the next one
    return PacketScan(num_frames=sum(map(len, kinds)) - unshown)


def _shown_of(leading: Collection[int], file: VideoFile) -> set[int]:
    """Those of some times before the first key packet's at which a frame is decoded soundly."""
    shown = set()
    for frame, culprit in file.straight():
        if frame.pts is None or frame.pts > max(leading):
            break
        shown |= {frame.pts} if culprit is None else set()
    return shown
