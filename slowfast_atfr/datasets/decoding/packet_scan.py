"""What the packets of a file say about its frames, read once without decoding."""

import zlib
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass

import av

from slowfast_atfr.datasets.decoding.frame_table import FrameTable, build_table, leading_times
from slowfast_atfr.datasets.decoding.video_file import VideoFile

Identity = Callable[[av.Packet], Hashable]


def by_place(packet: av.Packet) -> Hashable:
    """Identify a packet of its stream in most containers: time, position in the file, and size."""
    return packet.pts, packet.pos, packet.size


def by_content(packet: av.Packet) -> Hashable:
    """Identify a packet where several share a position, as in MPEG program streams and ASF."""
    return packet.pts, packet.size, zlib.crc32(packet)


@dataclass(frozen=True)
class PacketScan:
    """What is known of a video without decoding.

    table: of its frames. num_frames: if packets determine it. num_packets: if packets have an order but no times.
    known: all packets of the table, by `identity`.
    """

    table: FrameTable | None = None
    num_frames: int | None = None
    num_packets: int | None = None
    known: frozenset[Hashable] = frozenset()
    identity: Identity = by_place

    def knows(self, packet: av.Packet) -> bool:
        """Return whether a packet is one of the table: after a seek some demuxers change times."""
        return self.identity(packet) in self.known


def scan_packets(file: VideoFile) -> PacketScan:
    """Read the packets of a file that is at its start. Raises PyAV's errors, and DecodeError."""
    rows, places, kinds, order = [], [], [], []
    for packet in file.packets():
        if not rows:
            file.prepare_to_enter(packet)
        if not file.has_times:
            kinds.append(file.picture_kinds(packet))
            order.append(packet.dts)
        # a flagged packet of a transport stream may have lost its frame
        pts = None if packet.is_corrupt else packet.pts
        rows.append((pts, packet.is_keyframe, kinds[-1] == "" if kinds else file.is_hidden(packet)))
        places.append(by_place(packet))
    if not set(kinds) <= {"", "I", "P", "S"}:  # with only these, frames are in decoding order
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
    """Scan by the kinds of the packets' pictures and their numbers in the container."""
    if None in order or order != list(range(order[0], order[0] + len(order))):  # a pause at an unknown position
        return PacketScan()
    if None in kinds:
        return PacketScan(num_packets=len(order))
    unshown = max(0, len(kinds[-1]) - 1)  # a packet's second picture is output with the next packet
    return PacketScan(num_frames=sum(map(len, kinds)) - unshown)


def _shown_of(leading: Collection[int], file: VideoFile) -> set[int]:
    """Return the times, of those before the first key packet's, at which a sound frame is decoded."""
    shown = set()
    for frame, culprit in file.decode_all():
        if frame.pts is None or frame.pts > max(leading):
            break
        shown |= {frame.pts} if culprit is None else set()
    return shown
