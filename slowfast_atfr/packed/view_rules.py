"""What functions do to views of packed clips: elementwise ones, reductions, and those over one dimension of frames."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed.clips import PackedClips, of_layout
from slowfast_atfr.packed.copies import spread
from slowfast_atfr.packed.dispatch import HANDLERS, call, name_of, refusal
from slowfast_atfr.packed.elementwise import elementwise
from slowfast_atfr.packed.views import CLIPS, FRAMES, REMEDY, RULES, TIME_FIRST, View, dim_of, settled


def _elementwise(function: Callable, *args: Any, **kwargs: Any) -> View:
    views = [value for value in (*args, *kwargs.values()) if isinstance(value, View)]
    x = views[0]
    operands = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor | PackedClips) and value.ndim]
    if len(views) == 1 and not operands:  # in place, too
        args = [x.frames if value is x else value for value in args]
        return View(function(*args, **kwargs), x.layout, x.dims)
    if function.__name__.endswith("_") and not function.__name__.endswith("__"):
        raise refusal(name_of(function), f"in place on {x} has no rule", "Use its out-of-place form")
    plain = {id(view): view.plain() for view in views}
    if all(view is not None for view in plain.values()):
        x = plain[id(x)]
    elif all((view.dims, view.frames.shape) == (x.dims, x.frames.shape) for view in views):
        plain = {id(view): view for view in views}
    else:
        raise refusal(name_of(function), f"of views {' and '.join(map(repr, views))} has no rule", REMEDY)

    def operand(value: Any) -> Any:
        if isinstance(value, View):
            return _frames_beside(function, x, plain[id(value)])
        if isinstance(value, Tensor) and value.ndim:
            return _spread_beside(function, x, value)
        if isinstance(value, PackedClips):
            raise refusal(name_of(function), f"got packed clips beside {x}", REMEDY)
        return value

    frames = function(*map(operand, args), **{name: operand(value) for name, value in kwargs.items()})
    return settled(View(frames, x.layout, x.dims))


def _frames_beside(function: Callable, x: View, other: View) -> Tensor:
    if other.layout.lengths != x.layout.lengths or other.dims != x.dims:
        raise refusal(name_of(function), f"of views {x} and {other} has no rule", REMEDY)
    return other.frames


def _spread_beside(function: Callable, x: View, value: Tensor) -> Tensor:
    """An ordinary tensor that broadcasts over frames, and has an entry for each clip or broadcasts over clips."""
    value = value[(None,) * (x.ndim - value.ndim)]
    places = [x.dims.index((axis,)) if (axis,) in x.dims else None for axis in (CLIPS, FRAMES)]
    fits = value.ndim == x.ndim and None not in places and value.shape[places[1]] == 1
    if not fits or value.shape[places[0]] not in (1, len(x.layout.lengths)):
        raise refusal(name_of(function), f"got a tensor of shape {tuple(value.shape)} beside {x}", REMEDY)
    value = value.movedim(places, (0, 1)).squeeze(1)
    return spread(value, x.layout) if len(value) == len(x.layout.lengths) else value


def _reduce(function: Callable, x: View, dim: int | Sequence[int], keepdim: bool = False, **kwargs: Any) -> Any:
    """Run it on packed clips whose rows are the axes to reduce, and whose channels are those to keep."""
    dims = {dim_of(x, d) for d in ([dim] if isinstance(dim, int) else dim)}
    axes = [axis for d in sorted(dims) for axis in x.dims[d]]
    if CLIPS in axes:
        raise refusal(name_of(function), f"over dimensions {dim} of {x} mixes clips", REMEDY)
    gone = [axis for axis in axes if axis > FRAMES]
    kept = [axis for axis in range(1, x.frames.ndim) if axis not in gone]
    frames = x.frames.permute(0, *gone, *kept)
    sizes = frames.shape[1 + len(gone) :]
    frames = frames.reshape(len(frames), -1, 1, sizes.numel())
    one = FRAMES not in axes and len(gone) == 1
    over = 3 if one else [2, 3] if FRAMES in axes else [3]
    result = call(function, of_layout(frames, x.layout), over, True, **kwargs)
    shaped = partial(_reduced, x, kept, sizes, dims, keepdim)
    return type(result)(*map(shaped, result)) if isinstance(result, tuple) else shaped(result)


def _reduced(x: View, kept: list[int], sizes: Sequence[int], dims: set[int], keepdim: bool, result: Any) -> Any:
    """What is left of a view, from clips or a tensor with one channel for each value that is kept."""
    new = {axis: at for at, axis in enumerate(kept, start=1)}
    if result is None:
        return None
    left = [tuple(new.get(axis, axis) for axis in dim if axis in new or axis <= FRAMES) for dim in x.dims]
    left = [() if index in dims else dim for index, dim in enumerate(left) if keepdim or index not in dims]
    if isinstance(result, PackedClips):
        return View(View.of(result).frames.reshape(-1, *sizes), x.layout, tuple(left)).with_dims(left)
    layout = x.layout.of((1,) * len(result))
    return settled(View(result.reshape(-1, *sizes), layout, tuple(left)))


def _along(function: Callable, x: View, dim: int | None = None, *args: Any, **kwargs: Any) -> Any:
    """A function that keeps the size of one dimension, such as softmax."""
    axes = () if dim is None else x.dims[dim]
    if len(axes) != 1 or axes[0] <= FRAMES:
        raise refusal(name_of(function), f"over dimension {dim} of {x} has no rule", REMEDY)
    return View(function(x.frames, axes[0], *args, **kwargs), x.layout, x.dims)


def _on_last(function: Callable, x: View, *args: Any, **kwargs: Any) -> Any:
    """A function of the last dimension, whose size may change: a projection or norm of every position."""
    axes = x.dims[-1]
    if len(axes) != 1 or axes[0] <= FRAMES:
        raise refusal(name_of(function), f"over the last dimension of {x} mixes frames", TIME_FIRST)
    frames = function(x.frames.movedim(axes[0], -1), *args, **kwargs).movedim(-1, axes[0])
    return View(frames, x.layout, x.dims).with_dims(x.dims)


def _layer_norm(function: Callable, x: View, normalized_shape: Sequence[int], *args: Any, **kwargs: Any) -> Any:
    if len(normalized_shape) != 1:
        raise refusal("layer_norm", f"over the last {len(normalized_shape)} dimensions of {x} has no rule", REMEDY)
    return _on_last(function, x, normalized_shape, *args, **kwargs)


for _function, _handler in HANDLERS.items():
    if isinstance(_handler, partial) and _handler.func is elementwise:
        RULES[_function] = partial(_elementwise, _function)
for _name in ("mean", "sum", "amax", "amin", "max", "min"):
    for _function in (getattr(torch, _name), getattr(Tensor, _name)):
        RULES[_function] = partial(_reduce, _function)
for _function in (F.softmax, torch.softmax, Tensor.softmax, F.log_softmax, torch.log_softmax, Tensor.log_softmax):
    RULES[_function] = partial(_along, _function)
RULES[F.linear], RULES[F.layer_norm] = partial(_on_last, F.linear), partial(_layer_norm, F.layer_norm)
