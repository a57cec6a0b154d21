"""What all ways to the frames of a video share: the error, the check of the numbers, each frame once."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

FrameTransform = Callable[[np.ndarray], np.ndarray]
Take = Callable[[int, np.ndarray], None]  # (row, frame); called again from row 0 on where a reader has to start anew


class DecodeError(RuntimeError):
    """A video, or frames of it, that cannot be read. `path` and `reason` say which and why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Miscounted(DecodeError):
    """A video whose packets do not tell its frames, found out while reading it. Opened with `counts` it can be read."""


def check_range(path: str, indices: Sequence[int] | np.ndarray, num_frames: int) -> None:
    """Raise ValueError if there are no indices, DecodeError if one of them is no frame of the video."""
    if not len(indices):
        raise ValueError(f"no frame of {path} is asked for")
    for index in (np.min(indices), np.max(indices)):
        if not 0 <= index < num_frames:
            raise DecodeError(path, f"frame {index} is wanted, but it has frames 0 to {num_frames - 1}")


def visit(path: str, wanted: np.ndarray, frames_at: Callable[[np.ndarray], Iterator[np.ndarray]], take: Take) -> None:
    """Give each frame to `take(row, frame)`: frame number wanted[row], by a function that yields them in order.

    Raises:
        DecodeError: naming `path`, if the size of the picture changes.
    """
    shape = None
    for row, frame in enumerate(frames_at(wanted)):
        if shape is not None and frame.shape != shape:
            seen = f"{frame.shape[1]}x{frame.shape[0]} after {shape[1]}x{shape[0]}"
            raise DecodeError(path, f"the size of the picture changes at frame {wanted[row]}: {seen}")
        shape = frame.shape
        take(row, frame)


def collect(
    visit_frames: Callable[[np.ndarray, Take], None],
    indices: Sequence[int] | np.ndarray,
    transform: FrameTransform | None,
) -> np.ndarray:
    """(T, ...) of what `transform` makes of each frame, in the order of `indices`; each frame is visited once."""
    wanted, places = places_of(indices)
    out = None

    def take(row: int, frame: np.ndarray) -> None:
        nonlocal out
        result = frame if transform is None else transform(frame)
        if out is None:
            out = np.empty((len(indices), *result.shape), result.dtype)
        for place in places[row]:
            out[place] = result

    visit_frames(wanted, take)
    return out


def places_of(indices: Sequence[int] | np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The different ones of (T,) numbers, increasing, and for each of them where it stands."""
    indices = np.asarray(indices, np.int64)
    wanted, counts = np.unique(indices, return_counts=True)
    return wanted, np.split(np.argsort(indices, kind="stable"), np.cumsum(counts)[:-1])
