"""A reusable buffer for large arrays, since the system clears new memory page by page."""

import sys
from typing import Any

import numpy as np


class ReusableBuffer:
    """Returns arrays in the same memory, if the previous one is no longer referenced."""

    def __init__(self) -> None:
        self._array: np.ndarray | None = None
        self._references = 0  # to the array from here alone

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return an uninitialised uint8 array; the buffer is reused only if no reference (view, tensor) remains."""
        fits = self._array is not None and self._array.shape == shape
        if not fits or sys.getrefcount(self._array) > self._references:
            self._array = None  # free the old one first
            self._array = np.empty(shape, np.uint8)
            self._references = sys.getrefcount(self._array)
        return self._array

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the buffer."""
        return ReusableBuffer, ()
