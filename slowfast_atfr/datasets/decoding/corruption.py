"""Which frames damage spoils, where frames are only known in the order of presentation."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Frame = TypeVar("Frame")
_EARLIEST = -(2**63)  # a time before all others
_FARTHEST = 32  # frames that are shown before another and decoded after it: the longest hierarchies of VVC and AV1


@dataclass(frozen=True)
class FrameKind:
    """What a decoder says of a frame. is_bidirectional: it may be built on frames that are shown after it."""

    is_key: bool
    is_bidirectional: bool
    is_corrupt: bool


def with_culprits(frames: Iterable[tuple[Frame, FrameKind]]) -> Iterator[tuple[Frame, int | None]]:
    """Frames, each with the number of the damaged one that it may be built on (itself, if it is one), None if sound.

    Damage lasts until the next sound key frame. It also reaches back over the bidirectional frames that are shown right
    before it, as they are decoded after it; so these come no sooner than what follows them.
    """
    culprit, waiting = None, []  # sound frames that damage may still reach
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


class Holes:
    """What the flags of packets say of the frames of a transport stream, whose demuxer sees that something is lost.

    The flag stands on the packet during which the loss was seen, or on the one before: one of the two may lack a part,
    or packets after it are missing. What the decoder makes of these two it reports itself. What is missing matters to
    the frames that are built on it: the first that is shown from the time of the flag on is taken for damaged. Not so
    if the next packet, or the one after, is a key packet: nothing is built on what is missing before that, but for
    frames after it which are shown before it. Where one stream ends and another begins, as where two files were joined,
    there are none.
    """

    AHEAD = 2  # packets that have to be seen before one is decoded

    def __init__(self) -> None:
        self._open: int | None = None  # time of a flagged packet
        self._followed = False  # whether another came after it, as soon as packets come
        self._dts: int | None = None  # of the last packet
        self._step: int | None = None  # to it from the one before
        self._since: list[int] = []  # times from which on a frame is damaged
        self._key: int | None = None  # time of the key packet after a flagged one
        self._leading: set[int] = set()  # times of frames after such a key packet that are shown before it

    def see(self, pts: int | None, dts: int | None, is_key: bool, is_flagged: bool) -> None:
        """Take note of the next packet of the file."""
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

    def reach(self, pts: int | None) -> bool:
        """Whether the next frame of the decoder, shown at `pts`, may lack what was lost."""
        reached = [since for since in self._since if pts is None or since <= pts]
        self._since = [since for since in self._since if since not in reached]
        return bool(reached) or pts in self._leading
