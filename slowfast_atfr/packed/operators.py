"""Python's operators for classes that are not Tensors: each calls the torch function of the same meaning."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def operator_of(function: Callable, *, reflected: bool = False) -> Callable:
    """An operator that calls a torch function; reflected: with (other, self)."""

    def operate(self: Any, *other: Any) -> Any:
        return type(self).__torch_function__(function, (), (*other, self) if reflected else (self, *other))

    return operate


class Operators:
    """The operators that are not in place, for subclasses with a `__torch_function__`."""

    __add__ = __radd__ = operator_of(Tensor.add)
    __sub__, __rsub__ = operator_of(Tensor.sub), operator_of(torch.rsub)
    __mul__ = __rmul__ = operator_of(Tensor.mul)
    __truediv__, __rtruediv__ = operator_of(Tensor.div), operator_of(Tensor.__rtruediv__)
    __pow__, __rpow__ = operator_of(Tensor.pow), operator_of(torch.pow, reflected=True)
    __floordiv__, __rfloordiv__ = operator_of(Tensor.floor_divide), operator_of(Tensor.__rfloordiv__)
    __mod__, __neg__, __abs__ = operator_of(Tensor.remainder), operator_of(Tensor.neg), operator_of(Tensor.abs)
    __and__, __or__ = operator_of(Tensor.bitwise_and), operator_of(Tensor.bitwise_or)
    __invert__, __matmul__ = operator_of(Tensor.bitwise_not), operator_of(Tensor.matmul)
    __eq__, __ne__, __hash__ = operator_of(Tensor.eq), operator_of(Tensor.ne), object.__hash__
    __lt__, __le__, __gt__, __ge__ = map(operator_of, (Tensor.lt, Tensor.le, Tensor.gt, Tensor.ge))
    __getitem__, __setitem__ = operator_of(Tensor.__getitem__), operator_of(Tensor.__setitem__)
