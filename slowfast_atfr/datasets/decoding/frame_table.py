"""The table of a stream's frames, from its packets without decoding."""

import functools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

PacketRow = tuple[int | None, bool, bool]  # pts, whether a key packet, whether never shown (edit list)


@dataclass(frozen=True)
class FrameTable:
    """Presentation times of a stream, in its time base, and decode order.

    pts: (F,) int64, increasing, of frame i. order: (F,) int64, the packet's index in decode order of frame i. seekable,
    seekable_order: (K,) int64, the same for the key packets, at which decoding can start, including those hidden by an
    edit list.
    """

    pts: np.ndarray
    order: np.ndarray
    seekable: np.ndarray
    seekable_order: np.ndarray

    def __len__(self) -> int:
        return len(self.pts)

    def entry_for(self, index: int) -> int:
        """Return the time of the last key packet from which frame `index` can be decoded."""
        return int(self.seekable[self._key_for(index)])

    def first_from(self, entry: int) -> int:
        """Return the index of the first frame decoded from the key packet at time `entry`.

        It is shown at `entry` or later; from the first key packet it is frame 0, since nothing before it is lost.
        """
        return 0 if entry <= self.seekable[0] else int(np.searchsorted(self.pts, entry))

    def index_of(self, pts: int | None) -> int | None:
        """Return the index of the frame shown at `pts`, None if there is none."""
        return self._index.get(pts)

    @functools.cached_property
    def _index(self) -> dict[int, int]:
        return {pts: index for index, pts in enumerate(self.pts.tolist())}

    def culprit(self, index: int, damaged: Collection[int]) -> int | None:
        """Return the first of the `damaged` frames that frame `index` may depend on (itself included), or None.

        A frame may depend on all frames decoded before it since its key frame.
        """
        first, last = self.seekable_order[self._key_for(index)], self.order[index]
        return min((other for other in damaged if first <= self.order[other] <= last), default=None)

    def known_at(self, index: int) -> int:
        """Return the frame, `index` or later, after which all frames that `index` may depend on have been shown."""
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
    """Return the table of a stream, or None if packets do not determine its frames.

    Args:
        packets: in the order of the file.
        leading: times before the first key packet's at which decoding has shown a frame.
    Returns:
        the table; None if a packet has no time, two frames share one, there is no key packet, or time jumps back at a
        key packet, as where a second stream starts.
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
    """Return the times of packets after the first key packet that are shown before it, if they can be decoded."""
    first = next((number for number, (_, is_key, _) in enumerate(packets) if is_key), None)
    if first is None or packets[first][0] is None:
        return frozenset()
    key = packets[first][0]
    return frozenset(pts for pts, _, is_hidden in packets[first:] if not is_hidden and pts is not None and pts < key)
