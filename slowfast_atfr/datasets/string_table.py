"""Many strings in two arrays."""

from collections.abc import Iterable

import numpy as np


class StringTable:
    """A list of strings that data workers share.

    Reading a Python list of strings writes to their reference counts, so every forked process ends up with a copy:
    gigabytes for a large data set. Two arrays have two reference counts.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        encoded = [string.encode("utf-8", "surrogateescape") for string in strings]
        self._ends = np.cumsum([len(each) for each in encoded], dtype=np.int64)
        self._bytes = np.frombuffer(b"".join(encoded), np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> str:
        start = self._ends[index - 1] if index else 0
        return self._bytes[start : self._ends[index]].tobytes().decode("utf-8", "surrogateescape")
