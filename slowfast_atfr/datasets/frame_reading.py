"""What all ways to the frames of a video share: the error, the check of the numbers, each frame once."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

FrameTransform = Callable[[np.ndarray], np.ndarray]


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


def gather(
    path: str,
    indices: Sequence[int] | np.ndarray,
    frames_at: Callable[[np.ndarray], Iterator[np.ndarray]],
    transform: FrameTransform | None,
) -> np.ndarray:
    """Frames in the order of `indices` from a function that yields them in increasing order, each once.

    Raises:
        DecodeError: naming `path`, if the size of the picture changes.
    """
    wanted, where = np.unique(np.asarray(indices, np.int64), return_inverse=True)
    out, shape = None, None
    for row, frame in enumerate(frames_at(wanted)):
        if shape is not None and frame.shape != shape:
            seen = f"{frame.shape[1]}x{frame.shape[0]} after {shape[1]}x{shape[0]}"
            raise DecodeError(path, f"the size of the picture changes at frame {wanted[row]}: {seen}")
        shape = frame.shape
        result = frame if transform is None else transform(frame)
        if out is None:
            out = np.empty((len(wanted), *result.shape), result.dtype)
        out[row] = result
    return out if np.array_equal(wanted, indices) else out[where]
