"""Where the frames of a stream stand, read from its packets without decoding one."""

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

PacketRow = tuple[int | None, bool, bool]  # pts, is it a key packet, is it never shown, as by an edit list


@dataclass(frozen=True)
class FrameTable:
    """Presentation times of a stream, in its time base, and the order of decoding.

    pts: (F,) int64, increasing: entry i belongs to frame i. order: (F,) int64: the how-manieth packet frame i is.
    seekable, seekable_order: (K,) int64, the same of the key packets, those that an edit list hides included, for
    decoding may begin there.
    """

    pts: np.ndarray
    order: np.ndarray
    seekable: np.ndarray
    seekable_order: np.ndarray

    def __len__(self) -> int:
        return len(self.pts)

    def entry_for(self, index: int) -> int:
        """Time of the last key packet from which frame `index` can be decoded."""
        return int(self.seekable[self._key_for(index)])

    def first_from(self, entry: int) -> int:
        """Index of the first frame that decoding from the key packet at time `entry` on gives.

        It is shown at `entry` or later, but after the first key packet: nothing before that can have been lost.
        """
        return 0 if entry <= self.seekable[0] else int(np.searchsorted(self.pts, entry))

    def index_of(self, pts: int | None) -> int | None:
        """Index of the frame that is shown at `pts`, None if there is none."""
        return self._index.get(pts)

    @functools.cached_property
    def _index(self) -> dict[int, int]:
        return {pts: index for index, pts in enumerate(self.pts.tolist())}

    def culprit(self, index: int, damaged: Collection[int]) -> int | None:
        """The first of the `damaged` frames that frame `index` may be built on (itself included), None without one.

        A frame is built on frames that are decoded before it, from the key frame for it on.
        """
        first, last = self.seekable_order[self._key_for(index)], self.order[index]
        return min((other for other in damaged if first <= self.order[other] <= last), default=None)

    def known_at(self, index: int) -> int:
        """The frame, shown at `index` or later, with which all frames that `index` may be built on have been shown."""
        return int(self._known_at[index])

    @functools.cached_property
    def _known_at(self) -> np.ndarray:
        in_order = np.argsort(self.order)
        known = np.empty_like(in_order)
        known[in_order] = np.maximum.accumulate(in_order)
        return known

    def _key_for(self, index: int) -> int:
        return max(0, int(np.searchsorted(self.seekable, self.pts[index], side="right") - 1))


def build_table(packets: Sequence[PacketRow], leading: Collection[int] = ()) -> FrameTable | None:
    """The table of a stream, or None where packets do not tell their times.

    Args:
        packets: in the order of the file.
        leading: times before the first key packet's at which a frame is shown all the same, as decoding has shown.
    Returns:
        the table; None when a packet has no time, two frames share one, there is no key packet, or one is shown before
        a packet that comes before it: then time jumps back, as where a second stream begins.
    """
    pts, is_key, is_hidden = zip(*packets, strict=True) if packets else ((), (), ())
    keys = np.flatnonzero(is_key)
    if not len(keys) or None in pts:
        return None
    pts, later = np.array(pts, np.int64), keys[keys > 0]
    if (pts[later] <= np.maximum.accumulate(pts)[later - 1]).any():
        return None
    is_shown = pts >= pts[keys[0]]
    if leading:
        is_shown |= np.isin(pts, list(leading))
    order = np.flatnonzero(is_shown & ~np.array(is_hidden))
    order = order[np.argsort(pts[order], kind="stable")]
    if not len(order) or (np.diff(pts[order]) == 0).any():
        return None
    return FrameTable(pts[order], order, pts[keys], keys)


def leading_times(packets: Sequence[PacketRow]) -> frozenset[int]:
    """Times of packets that follow the first key packet and are shown before it; whether they can be is to be seen."""
    first = next((number for number, (_, is_key, _) in enumerate(packets) if is_key), None)
    if first is None or packets[first][0] is None:
        return frozenset()
    key = packets[first][0]
    return frozenset(pts for pts, _, is_hidden in packets[first:] if not is_hidden and pts is not None and pts < key)
