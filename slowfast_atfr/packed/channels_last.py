"""Packed clips as (N, T, H, W, C): between the two permutes around a `nn.Linear` or `nn.LayerNorm` over channels.

Heads that project every position, and blocks as ConvNeXt has them, permute, project and permute back. No memory moves:
packed frames lie in that order as they are. Everything that mixes no frames and no positions is allowed in between.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed import views
from slowfast_atfr.packed.clips import PackedClips, to_frames
from slowfast_atfr.packed.dispatch import HANDLERS, call, handles, name_of, refusal
from slowfast_atfr.packed.elementwise import elementwise
from slowfast_atfr.packed.ragged import RaggedLength
from slowfast_atfr.packed.views import View

TO_LAST = (0, 2, 3, 4, 1)  # of (N, C, T, H, W)
TO_FIRST = (0, 4, 1, 2, 3)  # and back


def _operator(function: Callable) -> Callable:
    return lambda self, *other: _call(function, self, *other)


@dataclass(frozen=True, eq=False)
class ChannelsLast:
    """`x.permute(0, 2, 3, 4, 1)` of packed clips x; `permute(0, 4, 1, 2, 3)` is x again."""

    clips: PackedClips

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, *args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Callable:
        method = getattr(Tensor, name, None)
        if name.startswith("_") or not callable(method):
            raise AttributeError(f"ChannelsLast has no attribute {name!r}")
        return functools.partial(_call, method, self)

    ndim = property(lambda self: 5)
    dtype = property(lambda self: self.clips.dtype)
    device = property(lambda self: self.clips.device)

    @property
    def shape(self) -> tuple[int, RaggedLength, int, int, int]:
        """(N, T, H, W, C), see PackedClips.shape."""
        return tuple(self.clips.shape[dim] for dim in TO_LAST)

    def dim(self) -> int:
        return 5

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    __add__ = __radd__ = _operator(Tensor.add)
    __sub__, __rsub__ = _operator(Tensor.sub), _operator(torch.rsub)
    __mul__ = __rmul__ = _operator(Tensor.mul)
    __truediv__, __neg__ = _operator(Tensor.div), _operator(Tensor.neg)
    __pow__, __rtruediv__ = _operator(Tensor.pow), _operator(Tensor.__rtruediv__)
    __eq__, __ne__, __hash__ = _operator(Tensor.eq), _operator(Tensor.ne), object.__hash__

    def _refuse(self, *_: Any) -> Any:
        raise refusal("this operator", "has no rule for packed clips with channels last", _REMEDY)

    __iadd__ = __isub__ = __imul__ = __itruediv__ = __getitem__ = __setitem__ = __bool__ = _refuse


@handles(torch.permute, Tensor.permute)
def permute(input: PackedClips, *order: int | Sequence[int], dims: Sequence[int] = ()) -> Any:
    dims = order or dims
    return ChannelsLast(input) if _order(dims) == TO_LAST else views.permute(View.of(input), *dims)


def _order(dims: Sequence) -> tuple[int, ...]:
    order = dims[0] if len(dims) == 1 and isinstance(dims[0], Sequence) else dims
    return tuple(dim + 5 if dim < 0 else dim for dim in order)


def _call(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run a torch function on arguments among which are packed clips with channels last.

    Raises:
        TypeError: if it is not one that leaves frames and positions apart.
    """
    handler = HANDLERS.get(function)
    if isinstance(handler, functools.partial) and handler.func is elementwise:
        args, kwargs = map(_channels_first, args), {name: _channels_first(value) for name, value in kwargs.items()}
        return ChannelsLast(handler(*args, **kwargs))
    if function in views.MOVES and isinstance(args[0], ChannelsLast) and function not in _TABLE:
        return views.MOVES[function](_view_of(args[0]), *args[1:], **kwargs)
    if function not in _TABLE or not isinstance(args[0], ChannelsLast):
        raise refusal(name_of(function), "has no rule for packed clips with channels last", _REMEDY)
    return _TABLE[function](function, args[0].clips, *args[1:], **kwargs)


def _view_of(x: ChannelsLast) -> View:
    view = View.of(x.clips)
    return View(view.frames, view.layout, tuple(view.dims[dim] for dim in TO_LAST))


_REMEDY = "Permute back first, x.permute(0, 4, 1, 2, 3)"


def _channels_first(value: Any) -> Any:
    """An operand of an elementwise function on (N, T, H, W, C), for the same function on (N, C, T, H, W)."""
    if isinstance(value, ChannelsLast):
        return value.clips
    if isinstance(value, PackedClips):
        raise refusal(
            "an elementwise function", "got packed clips with channels last and with channels second", _REMEDY
        )
    if isinstance(value, Tensor) and 0 < value.ndim <= 5:
        return value[(None,) * (5 - value.ndim)].permute(TO_FIRST)
    return value


def _on_frames(function: Callable, x: PackedClips, *args: Any, **kwargs: Any) -> ChannelsLast:
    """A function over the last dimension, run on (S, H, W, C)."""
    return ChannelsLast(x.with_frames(function(to_frames(x)[0], *args, **kwargs)))


def _layer_norm(function: Callable, x: PackedClips, normalized_shape: Sequence[int], *args: Any, **kwargs: Any):
    if len(normalized_shape) != 1:
        raise refusal(
            "layer_norm", f"over the last {len(normalized_shape)} dimensions is not one over channels", _REMEDY
        )
    return _on_frames(function, x, normalized_shape, *args, **kwargs)


def _softmax(function: Callable, x: PackedClips, dim: int | None = None, *args: Any, **kwargs: Any) -> ChannelsLast:
    if dim not in (4, -1):
        raise refusal("softmax", f"over dimension {dim} with channels last is not one over channels, dim=-1", _REMEDY)
    return _on_frames(function, x, -1, *args, **kwargs)


def _reduce(function: Callable, x: PackedClips, dim: int | Sequence[int], keepdim: bool = False, **kwargs: Any) -> Any:
    dims = [dim] if isinstance(dim, int) else list(dim)
    reduced = call(function, x, [TO_LAST[d] for d in dims], True, **kwargs)
    if isinstance(reduced, Tensor):
        reduced = reduced.permute(TO_LAST)
        return reduced if keepdim else reduced.squeeze(dims)
    return ChannelsLast(reduced) if keepdim else views.squeeze(_view_of(ChannelsLast(reduced)), dims)


def _permute_back(function: Callable, x: PackedClips, *dims: int | Sequence[int]) -> Any:
    return x if _order(dims) == TO_FIRST else views.permute(_view_of(ChannelsLast(x)), *dims)


_TABLE: dict[Callable, Callable] = {
    F.linear: _on_frames,
    F.layer_norm: _layer_norm,
    **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), _softmax),
    **dict.fromkeys((F.log_softmax, torch.log_softmax, Tensor.log_softmax), _softmax),
    **dict.fromkeys((torch.mean, Tensor.mean, torch.sum, Tensor.sum), _reduce),
    **dict.fromkeys((torch.permute, Tensor.permute), _permute_back),
    Tensor.contiguous: lambda function, x, **_: ChannelsLast(x),
}
