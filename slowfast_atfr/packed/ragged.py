"""The T of packed clips: one number per clip, which supports arithmetic but not use as a single number."""

import math
import operator
from collections.abc import Callable
from numbers import Real
from typing import Any

import torch

from slowfast_atfr.packed.dispatch import REMEDY, SIZED, call, name_of, refusal
from slowfast_atfr.packed.layout import Layout


def _computed(function: Callable, *, reflected: bool = False) -> Callable:
    """An operator that computes one number per clip."""

    def compute(self: "RaggedLength", *other: Any) -> Any:
        columns = [self.lengths, *(self._column(value) for value in other)]
        if any(column is None for column in columns):
            return NotImplemented
        if reflected:
            columns.reverse()
        return self._of(tuple(map(function, *columns)))

    return compute


def _compared(function: Callable) -> Callable:
    """An operator that returns a bool if all clips agree, and raises if not."""

    def compare(self: "RaggedLength", *other: Any) -> bool:
        columns = [self.lengths, *(self._column(value) for value in other)]
        if any(column is None for column in columns):
            return NotImplemented
        answers = set(map(function, *columns))
        if len(answers) > 1:
            self._refuse()
        return answers.pop()

    return compare


class RaggedLength:
    """The T of `x.shape`, one number per clip.

    Arithmetic with numbers returns another RaggedLength, a comparison a bool if it holds for all clips or for none, and
    a function that takes it as a size, such as `torch.zeros(n, c, x.size(2), h, w)`, packed clips. Use as a single
    number raises an error with the remedy.

    Args:
        lengths: a number for each clip.
        layout: of the clips.
        device: of the clips, and of tensors with this size.
    """

    def __init__(
        self, lengths: tuple[Real, ...], layout: Layout | None = None, device: torch.device | None = None
    ) -> None:
        self.lengths, self.layout, self.device = lengths, layout or Layout(lengths), device

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in SIZED:
            return SIZED[func](func, *args, **(kwargs or {}))
        if any(not issubclass(kind, cls | torch.Tensor) for kind in types):
            return call(func, *args, **(kwargs or {}))  # packed clips are among its arguments
        raise mixed_with_tensors(name_of(func))

    def __repr__(self) -> str:
        return f"RaggedLength{self.lengths}"

    def _of(self, numbers: tuple[Real, ...]) -> "RaggedLength":
        return RaggedLength(numbers, self.layout, self.device)

    def _column(self, value: Any) -> tuple[Real, ...] | None:
        """A number, or one for each clip, as one for each clip."""
        if isinstance(value, RaggedLength):
            if len(value.lengths) != len(self.lengths):
                raise refusal("T of packed clips", f"of {len(self.lengths)} clips meets that of {len(value.lengths)}")
            return value.lengths
        if isinstance(value, torch.Tensor):
            raise mixed_with_tensors("arithmetic")
        return (value,) * len(self.lengths) if isinstance(value, Real) else None

    def _refuse(self, *_: Any) -> Any:
        frames = f"is not one number: the clips have {self.lengths} frames, see x.lengths"
        remedy = f"{REMEDY}; for a module that needs T as an int, such as TensorFlow's 'same' padding, call insert_sgs("
        raise refusal("T of packed clips", frames, f"{remedy}lengthwise=[type of the module])")

    __int__ = __index__ = __float__ = __hash__ = _refuse
    __eq__, __ne__, __bool__ = _compared(operator.eq), _compared(operator.ne), _compared(bool)
    __lt__, __le__, __gt__, __ge__ = map(_compared, (operator.lt, operator.le, operator.gt, operator.ge))
    __neg__, __abs__ = _computed(operator.neg), _computed(abs)
    __round__, __floor__, __ceil__ = _computed(round), _computed(math.floor), _computed(math.ceil)
    __add__ = __radd__ = _computed(operator.add)
    __mul__ = __rmul__ = _computed(operator.mul)
    __sub__, __rsub__ = _computed(operator.sub), _computed(operator.sub, reflected=True)
    __truediv__, __rtruediv__ = _computed(operator.truediv), _computed(operator.truediv, reflected=True)
    __floordiv__, __rfloordiv__ = _computed(operator.floordiv), _computed(operator.floordiv, reflected=True)
    __mod__, __rmod__ = _computed(operator.mod), _computed(operator.mod, reflected=True)
    __pow__, __rpow__ = _computed(operator.pow), _computed(operator.pow, reflected=True)


def mixed_with_tensors(op: str) -> TypeError:
    """The error of a function of ordinary tensors that got T of packed clips."""
    remedy = "Use x itself, as in x.new_zeros(n, c, x.size(2), h, w) or x / x.size(2), or x.lengths"
    return refusal(op, "got T of packed clips, which is not one number, together with ordinary tensors", remedy)


def is_ragged(size: Any) -> bool:
    """Whether a size contains T of packed clips."""
    entries = size if isinstance(size, tuple | list) else (size,)
    return any(isinstance(entry, RaggedLength) for entry in entries)


def layout_of(size: RaggedLength, op: str) -> Layout:
    """Return the layout of clips with these numbers of frames.

    Raises:
        TypeError: if these are not whole numbers >= 1.
    """
    if any(type(length) is not int or length < 1 for length in size.lengths):
        raise refusal(op, f"got {size.lengths} frames", "Every clip has a whole number of frames, at least one")
    return size.layout.of(size.lengths)


def full_size(size: tuple[Any, ...]) -> tuple[Any, ...]:
    """The sizes of a function that takes them one by one, or in one tuple."""
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], tuple | list) else tuple(size)
