"""Arrays from an untrusted pickle.

Nothing that the file names is imported or called, not even numpy: np.ndarray itself can make objects from bytes.
Stand-in classes of this module record what arrays are pickled with; arrays are built after all is read.
"""

import os
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np


class PickledType:
    """Stand-in for np.dtype: a code such as f4, and a byte order."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    def __str__(self) -> str:
        return str(self.code)

    def dtype(self) -> np.dtype:
        """Return the numpy type. Raises TypeError unless it is numeric."""
        if not re.fullmatch("[biufc][0-9]+", self.code) or self.order not in ("<", ">", "=", "|"):
            raise TypeError(f"{self.code} is not a numeric type")
        return np.dtype(self.order + self.code)


class PickledArray:
    """Stand-in for an array or a scalar of numpy: a type, a shape and bytes."""

    def __init__(self) -> None:
        self.type, self.shape, self.order, self.data = PickledType("f4"), (0,), "C", b""

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.type, by_columns, self.data = state
        if not isinstance(self.type, PickledType):
            raise pickle.UnpicklingError(f"an array is of the type {self.type!r}")
        self.order = "F" if by_columns else "C"

    def numpy(self) -> np.ndarray:
        """Return a copy as an array. Raises TypeError unless it is numeric."""
        kind = self.type.dtype()
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data  # str: bytes of Python 2
        return np.frombuffer(data, kind).reshape(self.shape, order=self.order).copy()


def load_arrays(path: str | os.PathLike) -> Any:
    """Load a pickle as plain data with a PickledArray for each array; Python 2 text is read as latin1.

    Raises:
        pickle.UnpicklingError: if it names anything but arrays, bytes and OrderedDict.
        Exception: any other, for a damaged file.
    """
    with open(path, "rb") as file:
        return _ArraysOnly(file, encoding="latin1").load()


def _reconstruct(*_: Any) -> PickledArray:
    return PickledArray()  # its state follows


def _scalar(kind: PickledType, data: bytes) -> PickledArray:
    return _frombuffer(data, kind, (), "C")


def _frombuffer(data: bytes, kind: PickledType, shape: tuple, order: str) -> PickledArray:
    array = PickledArray()
    array.__setstate__((1, shape, kind, order == "F", data))
    return array


def _no_bytes() -> bytes:
    """Stand-in for bytes(), which Python 3 calls for b"" in protocol 2; bytes itself could allocate any size."""
    return b""


def _encode(text: str, encoding: str) -> bytes:
    """Stand-in for codecs.encode, which Python 3 calls for bytes in protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes text as {encoding!r}")
    return text.encode("latin1")


STAND_INS: dict[tuple[str, str], Callable] = {
    ("numpy", "ndarray"): PickledArray,
    ("numpy", "dtype"): PickledType,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},  # _core: numpy 2
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _frombuffer for core in ("core", "_core")},
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _no_bytes,
    ("__builtin__", "bytes"): _no_bytes,
    ("collections", "OrderedDict"): OrderedDict,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Callable:
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"it holds {module}.{name}, and only arrays and plain data are allowed")
        return STAND_INS[module, name]
