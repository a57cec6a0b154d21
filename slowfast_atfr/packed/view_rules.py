"""Rules of functions for views of packed clips: elementwise, reductions, projections, and concatenation."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed.along import reduced
from slowfast_atfr.packed.clips import PackedClips, of_layout
from slowfast_atfr.packed.dispatch import HANDLERS, call, handles, name_of, refusal
from slowfast_atfr.packed.elementwise import elementwise
from slowfast_atfr.packed.gather_scatter import spread
from slowfast_atfr.packed.views import CLIPS, FRAMES, REMEDY, RULES, TIME_FIRST, View, dim_of, of_clips, settled


def _elementwise(function: Callable, *args: Any, **kwargs: Any) -> View:
    views = [value for value in (*args, *kwargs.values()) if isinstance(value, View)]
    x = views[0]
    operands = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor | PackedClips) and value.ndim]
    if len(views) == 1 and not operands:  # in place, too
        args = [x.frames if value is x else value for value in args]
        return View(function(*args, **kwargs), x.layout, x.dims)
    plain = {id(view): view.plain() for view in views}
    if all(view is not None for view in plain.values()):
        x = plain[id(x)]
    elif all((view.dims, view.frames.shape) == (x.dims, x.frames.shape) for view in views):
        plain = {id(view): view for view in views}
    else:
        raise refusal(name_of(function), f"of views {' and '.join(map(repr, views))} has no rule", REMEDY)

    in_place = function.__name__.endswith("_") and not function.__name__.endswith("__")
    if in_place and (args[0] is not views[0] or x.frames.data_ptr() != views[0].frames.data_ptr()):
        raise refusal(name_of(function), f"in place on {args[0]!r} has no rule", "Use its out-of-place form")

    def operand(value: Any) -> Any:
        if isinstance(value, View):
            return _frames_of_operand(function, x, plain[id(value)])
        if isinstance(value, Tensor) and value.ndim:
            return _spread_operand(function, x, value)
        if isinstance(value, PackedClips):
            raise refusal(name_of(function), f"got packed clips together with {x}", REMEDY)
        return value

    frames = function(*map(operand, args), **{name: operand(value) for name, value in kwargs.items()})
    return settled(View(frames, x.layout, x.dims))


def _frames_of_operand(function: Callable, x: View, other: View) -> Tensor:
    if other.layout.lengths != x.layout.lengths or other.dims != x.dims:
        raise refusal(name_of(function), f"of views {x} and {other} has no rule", REMEDY)
    return other.frames


def _spread_operand(function: Callable, x: View, value: Tensor) -> Tensor:
    """An ordinary tensor that broadcasts over frames, and has an entry for each clip or broadcasts over clips."""
    value = value[(None,) * (x.ndim - value.ndim)]
    heads = [dim[:1] for dim in x.dims]
    if (CLIPS,) not in heads or (FRAMES,) not in heads:
        raise refusal(name_of(function), f"got a tensor of shape {tuple(value.shape)} together with {x}", REMEDY)
    clips, time = heads.index((CLIPS,)), heads.index((FRAMES,))
    alone = x.dims[clips] == (CLIPS,)
    sizes = (1, len(x.layout.lengths)) if alone else (1,)
    if value.ndim != x.ndim or value.shape[time] != 1 or value.shape[clips] not in sizes:
        raise refusal(name_of(function), f"got a tensor of shape {tuple(value.shape)} together with {x}", REMEDY)
    if x.dims[time] == (FRAMES,):
        value, clips = value.squeeze(time), clips - (time < clips)
    value = value.movedim(clips, 0) if alone else value.unsqueeze(0)
    return spread(value, x.layout) if len(value) == len(x.layout.lengths) > 1 else value


def _reduce(function: Callable, x: View, dim: int | Sequence[int], keepdim: bool = False, **kwargs: Any) -> Any:
    """Run it on packed clips with the axes to reduce as rows and the others as channels."""
    dims = {dim_of(x, d) for d in ([dim] if isinstance(dim, int) else dim)}
    axes = [axis for d in sorted(dims) for axis in x.dims[d]]
    if CLIPS in axes:
        raise refusal(name_of(function), f"over dimensions {dim} of {x} mixes clips", REMEDY)
    reduced_axes = [axis for axis in axes if axis > FRAMES]
    kept = [axis for axis in range(1, x.frames.ndim) if axis not in reduced_axes]
    frames = x.frames.permute(0, *reduced_axes, *kept)
    sizes = frames.shape[1 + len(reduced_axes) :]
    frames = frames.reshape(len(frames), -1, 1, sizes.numel())
    one = FRAMES not in axes and len(reduced_axes) == 1
    over = 3 if one else [2, 3] if FRAMES in axes else [3]
    result = call(function, of_layout(frames, x.layout), over, True, **kwargs)
    shaped = partial(reduced, x, kept, sizes, dims, keepdim)
    return type(result)(*map(shaped, result)) if isinstance(result, tuple) else shaped(result)


def _on_last(function: Callable, x: View, *args: Any, count: int = 1, **kwargs: Any) -> Any:
    """A function of the last dimensions, whose sizes may change, such as a projection or norm."""
    plain = x.plain()
    if plain is None or any(dim[0] <= FRAMES for dim in plain.dims[-count:]):
        raise refusal(name_of(function), f"over the last dimension of {x} mixes frames", TIME_FIRST)
    return View(function(plain.frames, *args, **kwargs), x.layout).with_dims(plain.dims)


def _norm_of_last(function: Callable, x: View, normalized_shape: Sequence[int], *args: Any, **kwargs: Any) -> Any:
    return _on_last(function, x, normalized_shape, *args, count=len(normalized_shape), **kwargs)


def _matmul(function: Callable, x: View, other: Any) -> Any:
    if not isinstance(x, View) or not isinstance(other, Tensor) or other.ndim != 2:
        raise refusal(name_of(function), "has no rule for a view of packed clips but by a matrix", REMEDY)
    return _on_last(function, x, other)


def _batch_norm(function: Callable, x: View, *args: Any, **kwargs: Any) -> Any:
    plain = x.plain()
    if plain is None or len(plain.dims[1]) != 1 or plain.dims[1][0] <= FRAMES:
        raise refusal(name_of(function), f"of {x} has no rule", REMEDY)
    axis = plain.dims[1][0]
    frames = function(plain.frames.movedim(axis, 1), *args, **kwargs).movedim(1, axis)
    return View(frames, x.layout).with_dims(plain.dims)


def _cat(tensors: Sequence[View], dim: int = 0) -> Any:
    x, *others = _alike(torch.cat, tensors)
    axes = x.dims[dim_of(x, dim)]
    if len(axes) != 1 or axes[0] <= FRAMES:
        raise refusal("torch.cat", f"of views along dimension {dim} of {x} has no rule", REMEDY)
    return View(torch.cat([x.frames, *(other.frames for other in others)], axes[0]), x.layout).with_dims(x.dims)


def _stack(tensors: Sequence[View], dim: int = 0) -> Any:
    x, *others = _alike(torch.stack, tensors)
    dims = list(x.dims)
    dims.insert(dim_of(x, dim, 1), (x.frames.ndim,))
    if dims[0][:1] != (CLIPS,):
        raise refusal("torch.stack", f"of views along dimension {dim} of {x} has no rule", REMEDY)
    return View(torch.stack([x.frames, *(other.frames for other in others)], -1), x.layout).with_dims(dims)


def _alike(function: Callable, views: Sequence[Any]) -> list[View]:
    """Plain views of the same clips, with the same dimensions."""
    plain = [view.plain() if isinstance(view, View) else None for view in views]
    first = plain[0]
    if any(x is None or (x.layout.lengths, x.dims) != (first.layout.lengths, first.dims) for x in plain):
        raise refusal(name_of(function), f"of {' and '.join(map(_named, views))} has no rule", REMEDY)
    return plain


def _named(x: Any) -> str:
    return f"a tensor of shape {tuple(x.shape)}" if isinstance(x, Tensor) else repr(x)


for _function, _handler in HANDLERS.items():
    if isinstance(_handler, partial) and _handler.func is elementwise:
        RULES[_function] = partial(_elementwise, _function)
for _name in ("mean", "sum", "amax", "amin", "max", "min"):
    for _function in (getattr(torch, _name), getattr(Tensor, _name)):
        RULES[_function] = partial(_reduce, _function)
RULES.update(dict.fromkeys((torch.cat, torch.concat, torch.concatenate), _cat))
RULES[torch.stack] = _stack
for _function in (F.batch_norm, torch.batch_norm):
    RULES[_function] = partial(_batch_norm, _function)
for _function, _rule in (
    (F.linear, _on_last),
    *((function, _norm_of_last) for function in (F.layer_norm, torch.layer_norm, F.rms_norm, torch.rms_norm)),
    *((function, _matmul) for function in (torch.matmul, Tensor.matmul, Tensor.__matmul__)),
):
    RULES[_function] = partial(_rule, _function)
    handles(_function)(partial(of_clips, RULES[_function]))
