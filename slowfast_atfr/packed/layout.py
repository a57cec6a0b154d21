"""Lengths of packed clips, and the index tensors that are derived from them: built once, and kept with the clips.

Copies, sums and expansions use these tensors for all clips at once, so a GPU launches as many kernels for many clips as
for few. They are computed on the host, so building them never waits for the device.
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
    """First frame of each clip when they stand end to end."""
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
    """Clips in a longer row of frames.

    Args:
        lengths: frames of each clip.
        starts: first frame of each clip in the row, in any order, no two clips overlapping.
        total: frames of the row.

    Its tensors: where each frame of the clips stands in the row; which frame stands at each place of the row, any where
    none does; the places where none does.
    """

    def __init__(self, lengths: Sequence[int], starts: Sequence[int], total: int) -> None:
        super().__init__()
        self.lengths, self.starts, self.total = tuple(lengths), tuple(starts), total
        self.frames = sum(lengths)
        self.is_whole = total == self.frames and self.starts == starts_of(lengths)  # whether nothing moves

    def arrays(self) -> tuple[np.ndarray, ...]:
        lengths, starts = np.array(self.lengths, dtype=np.int64), np.array(self.starts, dtype=np.int64)
        where = np.arange(self.frames) + np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
        source = np.full(self.total, -1, dtype=np.int64)
        source[where] = np.arange(self.frames)
        gaps = np.flatnonzero(source < 0)
        source[gaps] = 0
        return where, source, gaps


class Steps:
    """Positions for a temporal op: of the clips in its buffer, and of the results in its output, or in a dense one."""

    def __init__(self, layout: "Layout", window: Window, op: str) -> None:
        where = lay_out_buffer(layout.lengths, window, op, layout.round_to)
        self.before = Placement(layout.lengths, where.starts, where.total)
        self.lengths_out = where.lengths_out  # no layout, which might be the one that keeps these steps
        # what the op makes of the buffer's end may be longer than the last result
        self.after = Placement(where.lengths_out, where.starts_out, window.windows_in(where.total))
        most, count = max(where.lengths_out), len(layout.lengths)  # where all are as long as the longest
        self.in_stack = Placement(where.lengths_out, tuple(range(0, most * count, most)), most * count)


class Layout(Indices):
    """Clips end to end: their lengths, and all that is derived from the lengths alone.

    Args:
        lengths: frames of each clip.
        round_to: that buffers of temporal ops are rounded up to.
        sizes: frames of the video that each frame stands for, all clips end to end; None: one each. Layouts that differ
            in nothing else are equal.

    Its tensors: the clip of each frame; where each clip begins, and the last one ends; the lengths.
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
        return Layout, (self.lengths, self.round_to, self.sizes)  # copies make their tensors anew

    def __repr__(self) -> str:
        return f"Layout({self.lengths}, round_to={self.round_to})"

    def arrays(self) -> tuple[np.ndarray, ...]:
        lengths = np.array(self.lengths, dtype=np.int64)
        return np.repeat(np.arange(len(lengths)), lengths), np.cumsum([0, *lengths]), lengths

    def keep(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` returns the first time, under this key."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def of(self, lengths: tuple[int, ...]) -> "Layout":
        """Return the layout of as many clips of other lengths, without sizes; itself if the lengths are its own."""
        return self if lengths == self.lengths else self.keep(lengths, lambda: Layout(lengths, self.round_to))

    def steps(self, window: Window, op: str) -> Steps:
        """Where clips stand in the buffer of an op that looks across time.

        Raises:
            ValueError: if a clip is too short for one window.
        """
        return self.keep((window, op), lambda: Steps(self, window, op))

    def placed(self, starts: tuple[int, ...], total: int) -> Placement:
        """The clips in a longer row of frames."""
        return self.keep((starts, total), lambda: Placement(self.lengths, starts, total))

    def stacked(self) -> Placement:
        """Every clip in a place of its own that is as long as the longest."""
        longest, count = max(self.lengths), len(self.lengths)
        return self.placed(tuple(range(0, longest * count, longest)), longest * count)

    def shares(self, device: torch.device) -> Tensor:
        """(S,) times its clip's frames, what part of the clip each frame stands for: 1 where sizes are equal."""

        def make() -> Tensor:
            sizes = np.ones(sum(self.lengths)) if self.sizes is None else np.array(self.sizes)
            means = np.add.reduceat(sizes, starts_of(self.lengths)) / np.array(self.lengths)
            return upload([(sizes / np.repeat(means, self.lengths)).astype(np.float32)], device)[0]

        return self.keep(("shares", device), make)

    def groups(self, others: tuple["Layout", ...] = ()) -> list[tuple[list[int], list[Placement]]]:
        """Clips of one length here, and of one in each of the others: their indices, and where each layout has them."""
        return self.keep(("groups", *(other.lengths for other in others)), lambda: _groups((self, *others)))

    def from_groups(self, order: tuple[int, ...], lengths: tuple[int, ...]) -> Placement:
        """Where clips of these lengths stand in a row that has them in another order."""

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
