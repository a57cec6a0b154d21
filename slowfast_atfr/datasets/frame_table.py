"""Where the frames of a stream stand, read from its packets without decoding one."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FrameTable:
    """Presentation times of a stream, in its time base.

    pts: (F,) int64, increasing: entry i belongs to frame i. seekable: (K,) int64, increasing: times of the key packets,
    those that an edit list hides included, for decoding may begin there.
    """

    pts: np.ndarray
    seekable: np.ndarray

    def __len__(self) -> int:
        return len(self.pts)

    def entry_for(self, index: int) -> int:
        """Time of the last key packet from which frame `index` can be decoded."""
        return int(self.seekable[np.searchsorted(self.seekable, self.pts[index], side="right") - 1])

    def first_from(self, pts: int) -> int:
        """Index of the first frame that is shown at `pts` or later."""
        return int(np.searchsorted(self.pts, pts))


def build_table(packets: Iterable[tuple[int | None, bool, bool]]) -> FrameTable | None:
    """The table of a stream, or None where packets do not tell their times.

    Args:
        packets: (pts, is it a key packet, is it hidden by an edit list) of each, in any order.
    Returns:
        the frames from the first key packet on: what is shown before it cannot be decoded. None when a packet has no
        time, two frames share one, or there is no key packet.
    """
    rows = list(packets)
    keys = sorted(pts for pts, is_key, _ in rows if is_key and pts is not None)
    if not keys or any(pts is None for pts, _, _ in rows):
        return None
    pts = np.array(sorted(pts for pts, _, is_hidden in rows if not is_hidden and pts >= keys[0]), np.int64)
    if not len(pts) or (np.diff(pts) == 0).any():
        return None
    return FrameTable(pts, np.array(keys, np.int64))
