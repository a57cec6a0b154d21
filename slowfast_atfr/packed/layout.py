"""Lengths of packed clips, and the index tensors derived from them: built once, and kept with the clips.

Copies, sums and expansions use these tensors for all clips at once, so the number of kernels that a GPU launches does
not depend on the number of clips. They are computed on the host, so building them never waits for the device.
"""

from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from slowfast_atfr.packed.buffer_layout import Window, lay_out_buffer
from slowfast_atfr.utils.upload import upload

T = TypeVar("T")


def starts_of(lengths: Sequence[int]) -> tuple[int, ...]:
    """First frame of each clip when clips are end to end."""
    return tuple(accumulate(lengths, initial=0))[:-1]


class Indices:
    """Index tensors that go to each device once, in one copy."""

    def __init__(self) -> None:
        self._on: dict[torch.device, tuple[Tensor, ...]] = {}

    def arrays(self) -> tuple[np.ndarray, ...]:
        raise NotImplementedError

    def on(self, device: torch.device) -> tuple[Tensor, ...]:
        """The tensors of `arrays`, int64, on a device."""
        if device not in self._on:
            self._on[device] = upload(self.arrays(), device)
        return self._on[device]


class Placement(Indices):
    """Positions of clips in a longer row of frames.

    Args:
        lengths: frames of each clip.
        starts: first frame of each clip in the row, in any order, no two clips overlapping.
        total: frames of the row.

    Its tensors: the position of each frame in the row; the frame at each position of the row, arbitrary in gaps; the
    positions of gaps.
    """

    def __init__(self, lengths: Sequence[int], starts: Sequence[int], total: int) -> None:
        super().__init__()
        self.lengths, self.starts, self.total = tuple(lengths), tuple(starts), total
        self.frames = sum(lengths)
        self.is_whole = total == self.frames and self.starts == starts_of(lengths)  # nothing moves

    def arrays(self) -> tuple[np.ndarray, ...]:
        lengths, starts = np.array(self.lengths, dtype=np.int64), np.array(self.starts, dtype=np.int64)
        where = np.arange(self.frames) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        source = np.full(self.total, -1, dtype=np.int64)
        source[where] = np.arange(self.frames)
        gaps = np.flatnonzero(source < 0)
        source[gaps] = 0
        return where, source, gaps


class Steps:
    """Positions for a temporal op: of clips in its buffer, and of results in its output or in that of a dense batch."""

    def __init__(self, layout: "Layout", window: Window, op: str) -> None:
        where = lay_out_buffer(layout.lengths, window, op, layout.round_to)
        self.in_buffer = Placement(layout.lengths, where.starts, where.total)
        self.lengths_out = where.lengths_out  # not a layout: it might be the one that keeps these steps
        # the op's output may be longer than the last result
        self.results = Placement(where.lengths_out, where.starts_out, window.windows_in(where.total))
        most, count = max(where.lengths_out), len(layout.lengths)  # all as long as the longest
        self.stacked_results = Placement(where.lengths_out, tuple(range(0, most * count, most)), most * count)


class Layout(Indices):
    """Lengths of clips that are end to end, and all that is derived from the lengths alone.

    Args:
        lengths: frames of each clip.
        round_to: buffers of temporal ops are rounded up to a multiple of this.
        sizes: frames of the video that each frame represents, all clips end to end; None: one each. `==`
            ignores them.

    Its tensors: the clip of each frame; the first frame of each clip, and the end of the last; the lengths.
    """

    def __init__(self, lengths: tuple[int, ...], round_to: int = 1, sizes: tuple[float, ...] | None = None) -> None:
        super().__init__()
        self.lengths, self.round_to, self.sizes = lengths, round_to, sizes
        self.is_even = len(set(lengths)) == 1  # whether all clips have one length
        self._kept: dict[Hashable, Any] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Layout) and (self.lengths, self.round_to) == (other.lengths, other.round_to)

    def __hash__(self) -> int:
        return hash((self.lengths, self.round_to))

    def __reduce__(self) -> tuple:
        return Layout, (self.lengths, self.round_to, self.sizes)  # a copy builds its tensors again

    def __repr__(self) -> str:
        return f"Layout({self.lengths}, round_to={self.round_to})"

    def arrays(self) -> tuple[np.ndarray, ...]:
        lengths = np.array(self.lengths, dtype=np.int64)
        return np.repeat(np.arange(len(lengths)), lengths), np.cumsum([0, *lengths]), lengths

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value under this key; `make` builds it the first time."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def of(self, lengths: tuple[int, ...]) -> "Layout":
        """Return the layout of N clips of other lengths, without sizes; itself for its own lengths."""
        return self if lengths == self.lengths else self.keep(lengths, lambda: Layout(lengths, self.round_to))

    def steps(self, window: Window, op: str) -> Steps:
        """Positions of clips in the buffer of an op that looks across time.

        Raises:
            ValueError: if a clip is too short for one window.
        """
        return self.keep((window, op), lambda: Steps(self, window, op))

    def placed(self, starts: tuple[int, ...], total: int) -> Placement:
        """Positions of the clips in a longer row of frames."""
        return self.keep((starts, total), lambda: Placement(self.lengths, starts, total))

    def stacked(self) -> Placement:
        """Positions in a dense batch of the longest length."""
        longest, count = max(self.lengths), len(self.lengths)
        return self.placed(tuple(range(0, longest * count, longest)), longest * count)

    def shares(self, device: torch.device) -> Tensor:
        """(S,) share of each frame in its clip, times the clip's frames: 1 where sizes are equal."""

        def make() -> Tensor:
            sizes = np.ones(sum(self.lengths)) if self.sizes is None else np.array(self.sizes)
            means = np.add.reduceat(sizes, starts_of(self.lengths)) / np.array(self.lengths)
            return upload([(sizes / np.repeat(means, self.lengths)).astype(np.float32)], device)[0]

        return self.keep(("shares", device), make)

    def groups(self, others: tuple["Layout", ...] = ()) -> list[tuple[list[int], list[Placement]]]:
        """Groups of clips that have one length in each layout: their indices, and their placement in each layout."""
        return self.keep(("groups", *(other.lengths for other in others)), lambda: _groups((self, *others)))

    def from_groups(self, order: tuple[int, ...], lengths: tuple[int, ...]) -> Placement:
        """Positions of clips of these lengths in a row that has them in another order."""

        def make() -> Placement:
            starts = dict(zip(order, starts_of([lengths[index] for index in order]), strict=True))
            return Placement(lengths, [starts[index] for index in range(len(order))], sum(lengths))

        return self.keep((order, lengths), make)


def _groups(layouts: tuple[Layout, ...]) -> list[tuple[list[int], list[Placement]]]:
    alike: dict[tuple[int, ...], list[int]] = {}
    for index, lengths in enumerate(zip(*(layout.lengths for layout in layouts), strict=True)):
        alike.setdefault(lengths, []).append(index)
    starts = [starts_of(layout.lengths) for layout in layouts]
    return [
        (
            members,
            [
                Placement([length] * len(members), [begin[index] for index in members], sum(layout.lengths))
                for layout, begin, length in zip(layouts, starts, lengths, strict=True)
            ],
        )
        for lengths, members in alike.items()
    ]
