"""Memory of large arrays, used again: what the system hands out anew it has to clear page by page."""

import sys
from typing import Any

import numpy as np


class SpareMemory:
    """Gives out one array after the other, in the same memory where nobody holds the last one any more."""

    def __init__(self) -> None:
        self._array: np.ndarray | None = None
        self._references = 0  # to the array while nobody else holds it

    def array(self, shape: tuple[int, ...]) -> np.ndarray:
        """An uninitialised uint8 array. Whoever keeps it, a part of it or a tensor on it, keeps it for himself."""
        fits = self._array is not None and self._array.shape == shape
        if not fits or sys.getrefcount(self._array) > self._references:
            self._array = None  # the old one goes before the new one comes
            self._array = np.empty(shape, np.uint8)
            self._references = sys.getrefcount(self._array)
        return self._array

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process gets none of it."""
        return SpareMemory, ()
