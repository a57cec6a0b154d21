"""Where the frames of a stream stand, read from its packets without decoding one."""

import functools
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np


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

    def first_from(self, pts: int) -> int:
        """Index of the first frame that is shown at `pts` or later."""
        return int(np.searchsorted(self.pts, pts))

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

    def looks_ahead(self, index: int) -> bool:
        """Whether a frame that is shown after frame `index` is decoded before it, or before one shown earlier."""
        return bool(self.order[: index + 1].max(initial=-1) > self.order[index + 1 :].min(initial=2**62))

    def _key_for(self, index: int) -> int:
        return int(np.searchsorted(self.seekable, self.pts[index], side="right") - 1)


def build_table(packets: Iterable[tuple[int | None, bool, bool]]) -> FrameTable | None:
    """The table of a stream, or None where packets do not tell their times.

    Args:
        packets: (pts, is it a key packet, is it never shown, as by an edit list) of each, in the order of the file.
    Returns:
        the frames from the first key packet on: what is shown before it cannot be decoded. None when a packet has no
        time, two frames share one, or there is no key packet.
    """
    rows = [(*row, place) for place, row in enumerate(packets)]
    keys = sorted((pts, place) for pts, is_key, _, place in rows if is_key and pts is not None)
    if not keys or any(pts is None for pts, *_ in rows):
        return None
    shown = sorted((pts, place) for pts, _, is_hidden, place in rows if not is_hidden and pts >= keys[0][0])
    if not shown:
        return None
    pts, order = np.array(shown, np.int64).T
    if (np.diff(pts) == 0).any():
        return None
    return FrameTable(pts, order, *np.array(keys, np.int64).T)
