"""Which frames depend on damaged ones, if only the presentation order is known."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Frame = TypeVar("Frame")
_EARLIEST = -(2**63)  # before any time
_FARTHEST = 32  # frames shown before another but decoded after it, at most (VVC and AV1)


@dataclass(frozen=True)
class FrameKind:
    """What a decoder reports about a frame. is_bidirectional: it may depend on frames shown after it."""

    is_key: bool
    is_bidirectional: bool
    is_corrupt: bool


def with_culprits(frames: Iterable[tuple[Frame, FrameKind]]) -> Iterator[tuple[Frame, int | None]]:
    """Yield frames with the index of the damaged frame that each may depend on (perhaps itself), None if sound.

    Damage lasts until the next sound key frame. It also affects the bidirectional frames shown right before it, which
    are decoded after it, so these are yielded with the next frame.
    """
    culprit, waiting = None, []  # frames that damage may still affect
    for index, (frame, kind) in enumerate(frames):
        culprit = None if kind.is_key else culprit
        culprit = index if kind.is_corrupt and culprit is None else culprit
        if culprit is None and kind.is_bidirectional:
            waiting.append(frame)
            if len(waiting) > _FARTHEST:
                yield waiting.pop(0), None
            continue
        yield from ((earlier, culprit) for earlier in waiting)
        waiting.clear()
        yield frame, culprit
    yield from ((earlier, None) for earlier in waiting)


class PacketLosses:
    """Frames affected by lost data in a transport stream, whose demuxer flags packets.

    The flag is on the packet in which the loss was detected, or on the one before: one of the two may be incomplete, or
    packets after them are missing. The decoder reports damage in these two itself. Frames that depend on missing
    packets are affected, so the first frame shown from the flag's time on counts as damaged. Not if one of the next two
    packets is a key packet: then only frames after it which are shown before it are affected. Where two files were
    joined, nothing is lost.
    """

    AHEAD = 2  # packets to look ahead before one is decoded

    def __init__(self) -> None:
        self._open: int | None = None  # time of a flagged packet
        self._followed = False  # whether another packet followed it
        self._dts: int | None = None  # of the last packet
        self._step: int | None = None  # difference to the packet before
        self._since: list[int] = []  # times from which a frame is damaged
        self._key: int | None = None  # time of the key packet after a flagged one
        self._leading: set[int] = set()  # times of frames after such a key packet that are shown before it

    def add_packet(self, pts: int | None, dts: int | None, is_key: bool, is_flagged: bool) -> None:
        """Add the next packet of the file."""
        step = None if None in (dts, self._dts) else dts - self._dts
        if is_key:
            self._key = pts if self._open is not None else None
            self._open = None
        elif self._open is not None and (self._followed or step is None or step != self._step):
            self._since.append(self._open)
            self._open = None
        elif self._key is not None and pts is not None and pts < self._key:
            self._leading.add(pts)
        self._followed = self._open is not None
        if is_flagged and self._open is None:
            self._open = _EARLIEST if pts is None else pts
        self._dts, self._step = dts, step

    def affects(self, pts: int | None) -> bool:
        """Return whether the decoder's next frame, shown at `pts`, may be affected."""
        reached = [since for since in self._since if pts is None or since <= pts]
        self._since = [since for since in self._since if since not in reached]
        return bool(reached) or pts in self._leading
