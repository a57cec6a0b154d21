"""Where each clip starts in the buffer of an op that looks across time: integer arithmetic, no tensors.

Clips of 3 and 2 frames, kernel 3, stride 2, padding 1 (x a frame, . a frame of padding, | the first frame of a window):

    . x x x . x x        starts (1, 5), total 7
    |   |   |            starts_out (0, 2), lengths_out (2, 1)

Every clip's first window begins at a multiple of the stride, no window of one clip reaches a frame of another, and the
op then runs over the whole buffer without padding in time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Window:
    """The temporal part of a convolution or pool, all in frames; `before` and `after` are its paddings."""

    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def reach(self) -> int:
        """Frames from the first to the last one that a window touches, both counted."""
        return self.dilation * (self.kernel - 1) + 1

    @cached_property
    def mixes_no_frames(self) -> bool:
        return self.kernel == self.stride == 1 and self.before == self.after == 0

    def lengths_out(self, lengths: Sequence[int], op: str) -> tuple[int, ...]:
        """Frames of each clip after the op.

        Raises:
            ValueError: if a clip is too short for one window; names op, clip and length.
        """
        needed = self.reach - self.before - self.after
        for index, length in enumerate(lengths):
            if length < needed:
                raise ValueError(
                    f"{op}: clip {index} of {len(lengths)} has length {length}, but a kernel of {self.kernel} frames, "
                    f"dilation {self.dilation}, padding ({self.before}, {self.after}), needs {needed} frames. "
                    "Keep more frames before this op, or lengthen the clips with pad_lengths(x, lengths)"
                )
        return tuple((length - needed) // self.stride + 1 for length in lengths)

    def windows_in(self, frames: int) -> int:
        """Windows in this many frames, without padding."""
        return (frames - self.reach) // self.stride + 1


@dataclass(frozen=True)
class BufferLayout:
    """A buffer of `total` frames: where each clip starts in it, and its result in the op's output."""

    starts: tuple[int, ...]
    starts_out: tuple[int, ...]
    lengths_out: tuple[int, ...]
    total: int


def lay_out_buffer(lengths: tuple[int, ...], window: Window, op: str, round_to: int = 1) -> BufferLayout:
    """Place clips as tightly as the window allows.

    Args:
        lengths: frames of each clip.
        window: of the op.
        op: name of the op, for the error.
        round_to: the buffer's length is rounded up to a multiple of this.
    Raises:
        ValueError: if a clip is too short for one window.
    """
    lengths_out = window.lengths_out(lengths, op)
    firsts = []  # where each clip's first window begins
    first = end = 0
    for length, length_out in zip(lengths, lengths_out, strict=True):
        firsts.append(first)
        last_window_end = first + window.stride * (length_out - 1) + window.reach
        clip_end = first + window.before + length
        end = max(clip_end, last_window_end)
        earliest = max(clip_end, last_window_end - window.before, first + window.stride * length_out)
        first = _round_up(earliest, window.stride)
    return BufferLayout(
        starts=tuple(first + window.before for first in firsts),
        starts_out=tuple(first // window.stride for first in firsts),
        lengths_out=lengths_out,
        total=_round_up(end, round_to),
    )


def triple(size: int | None | Sequence[int | None]) -> tuple[int | None, ...]:
    """(T, H, W) sizes of an op, from one size for all or from three."""
    if isinstance(size, tuple) and len(size) == 3:
        return size
    size = tuple(size) if isinstance(size, Sequence) else (size,)
    return size * 3 if len(size) == 1 else size


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step
