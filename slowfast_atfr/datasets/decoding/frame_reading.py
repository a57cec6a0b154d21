"""Common parts of all frame readers: errors, checks, and reading each frame once."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

FrameTransform = Callable[[np.ndarray], np.ndarray]
NumberedFrames = Iterator[tuple[int, np.ndarray]]  # (row, frame): row i is the i-th wanted frame


class DecodeError(RuntimeError):
    """A video, or frames of it, that cannot be read: `path` and `reason`."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Miscounted(DecodeError):
    """A video whose packets turned out not to match its frames. It can be read if opened with `counts`."""


def check_range(path: str, indices: Sequence[int] | np.ndarray, num_frames: int) -> None:
    """Raise ValueError if there are no indices, DecodeError if one is out of range."""
    if not len(indices):
        raise ValueError(f"no frame of {path} is requested")
    for index in (np.min(indices), np.max(indices)):
        if not 0 <= index < num_frames:
            raise DecodeError(path, f"frame {index} is out of range 0 to {num_frames - 1}")


def check_sound(path: str, index: int, culprit: int | None) -> None:
    """Raise DecodeError if frame `culprit`, which frame `index` may depend on, is damaged."""
    if culprit == index:
        raise DecodeError(path, f"frame {index} is damaged")
    if culprit is not None:
        raise DecodeError(path, f"frame {index} may depend on frame {culprit}, which is damaged")


def in_one_size(path: str, wanted: np.ndarray, frames: Iterable[np.ndarray]) -> NumberedFrames:
    """Number frames in the order of `wanted`. Raises DecodeError if the frame size changes."""
    shape = None
    for row, frame in enumerate(frames):
        if shape is not None and frame.shape != shape:
            seen = f"{frame.shape[1]}x{frame.shape[0]} after {shape[1]}x{shape[0]}"
            raise DecodeError(path, f"the frame size changes at frame {wanted[row]}: {seen}")
        shape = frame.shape
        yield row, frame


def collect(
    frames_at: Callable[[np.ndarray], NumberedFrames],
    indices: Sequence[int] | np.ndarray,
    transform: FrameTransform | None,
) -> np.ndarray:
    """Return (T, ...) transformed frames in the order of `indices`; each frame is read once."""
    wanted, places = places_of(indices)
    out = None
    for row, frame in frames_at(wanted):
        result = frame if transform is None else transform(frame)
        if out is None:
            out = np.empty((len(indices), *result.shape), result.dtype)
        for place in places[row]:
            out[place] = result
    return out


def places_of(indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the sorted unique values of (T,) numbers, and the positions of each."""
    indices = np.asarray(indices, np.int64)
    wanted, counts = np.unique(indices, return_counts=True)
    return wanted, np.split(np.argsort(indices, kind="stable"), np.cumsum(counts)[:-1])
