"""Functions along dimensions of packed clips and views: those that keep the dimension, and reductions.

Within frames they run on all frames at once; along time, once per distinct length.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed.clips import PackedClips, of_layout, to_frames
from slowfast_atfr.packed.convert import each_alone
from slowfast_atfr.packed.dispatch import handles, name_of, refusal
from slowfast_atfr.packed.views import CLIPS, FRAMES, REMEDY, RULES, View, dim_of, settled

# name -> parameters after the input, by position; "dim" is one dimension, which is kept
ALONG = {
    "softmax": ("dim", "dtype"),
    "log_softmax": ("dim", "dtype"),
    "softmin": ("dim",),
    "cumsum": ("dim",),
    "cumprod": ("dim",),
    "cummax": ("dim",),
    "cummin": ("dim",),
    "logcumsumexp": ("dim",),
    "sort": ("dim", "descending"),
    "argsort": ("dim", "descending"),
    "topk": ("k", "dim", "largest", "sorted"),
    "diff": ("n", "dim"),
}
# the same for reductions, whose "dim" may be several
REDUCTIONS = {
    **dict.fromkeys(("argmax", "argmin", "median", "nanmedian", "mode"), ("dim", "keepdim")),
    **dict.fromkeys(("prod", "logsumexp", "nansum", "nanmean", "any", "all"), ("dim", "keepdim")),
    **dict.fromkeys(("quantile", "nanquantile"), ("q", "dim", "keepdim")),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), ("dim", "unbiased", "keepdim")),
    "norm": ("p", "dim", "keepdim"),
    "vector_norm": ("ord", "dim", "keepdim"),
    "kthvalue": ("k", "dim", "keepdim"),
    "aminmax": ("dim", "keepdim"),
    "count_nonzero": ("dim",),
}
LAST = dict.fromkeys(("sort", "argsort", "topk", "diff", "kthvalue", "median", "nanmedian", "mode"), -1)  # without dim
OF_ALL = ("any", "all")  # over everything they need no clips
PLACES = ("argmax", "argmin", "median", "nanmedian", "mode", "kthvalue")  # return an index


def along(function: Callable, names: Sequence[str], input: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a function that looks along one dimension, whose size may change, and keeps the others.

    Args:
        names: of its parameters after the input.
        input: packed clips or a View of them.
    """
    x, kwargs = _view_of(input), dict(zip(names, args, strict=False)) | kwargs
    dim = kwargs.pop("dim", LAST.get(function.__name__))
    if not isinstance(dim, int):
        raise refusal(name_of(function), f"over dimension {dim} has no rule for packed clips", "Name one dimension")
    at = dim_of(x, dim)
    axes = x.dims[at]
    if FRAMES in axes or CLIPS in axes:
        return _along_time(partial(function, **kwargs), x, at, name_of(function))
    plain = x if len(axes) == 1 else x.plain()
    if plain is None:
        raise refusal(name_of(function), f"over dimension {dim} of {x} has no rule", REMEDY)
    out = function(plain.frames, dim=plain.dims[at][0], **kwargs)
    return _each(out, lambda frames: settled(View(frames, plain.layout, plain.dims)))


def _along_time(function: Callable, x: View, at: int, name: str) -> Any:
    """Along T, or along T and what follows it in one dimension, once per distinct length."""
    axes = x.dims[at]
    if axes[0] != FRAMES or CLIPS in axes:
        raise refusal(name, f"over dimension {at} of {x} mixes clips", REMEDY)
    inner, shape, clips = _clips_of(x, axes)
    kept = [axis for axis in range(1, x.frames.ndim) if axis not in inner]

    def of_one_length(dense: Tensor) -> Any:  # (n, kept, L, inner, 1)
        return function(dense.flatten(2), dim=2)

    def back(packed: PackedClips) -> Any:
        frames, _ = to_frames(packed)
        new = {axis: place for place, axis in enumerate((*inner, *kept), start=1)}
        dims = tuple(tuple(new.get(axis, axis) for axis in dim) for dim in x.dims)
        return settled(View(frames.reshape(len(frames), *shape), packed.layout, dims))

    def in_frames(result: Tensor, positions: int) -> Tensor:
        if positions > 1 and result.shape[2] % positions:
            raise refusal(name, f"over dimension {at} of {x} leaves parts of frames", REMEDY)
        return result.unflatten(2, (-1, positions)).unsqueeze(-1)

    return _each_result(of_one_length, clips, name, in_frames, back)


def reduction(function: Callable, names: Sequence[str], input: Any, *args: Any, **kwargs: Any) -> Any:
    """Run a reduction over one dimension or several; ordinary tensors come out where T is among them."""
    if args and isinstance(args[0], bool) and names[1:2] == ("unbiased",):
        names = names[1:]  # var and std have (unbiased,) before they have dimensions
    kwargs = dict(zip(names, args, strict=False)) | kwargs
    name, keepdim = function.__name__, kwargs.pop("keepdim", False)
    dim = kwargs.pop("dim", LAST.get(name))
    if dim is None:
        if name in OF_ALL:
            return function(input.joined if isinstance(input, PackedClips) else input.frames)
        remedy = "Name the dimensions, some of 1, 2, 3, 4"
        raise refusal(name_of(function), "over everything is ambiguous for clips of different lengths", remedy)
    if name in ("norm", "vector_norm"):
        order = kwargs.pop("ord", kwargs.pop("p", 2))
        function, kwargs["ord"] = torch.linalg.vector_norm, 2 if order in ("fro", None) else order
    if not isinstance(kwargs.get("q", 0), float | int):
        raise refusal(name_of(function), "takes one q for packed clips")
    if "unbiased" in kwargs:
        kwargs["correction"] = int(kwargs.pop("unbiased"))
    x = _view_of(input)
    dims = {dim_of(x, d) for d in ([dim] if isinstance(dim, int) else dim)}
    axes = tuple(axis for d in sorted(dims) for axis in x.dims[d])
    if CLIPS in axes or not dims:
        remedy = "Reduce over some of 1, 2, 3, 4"
        raise refusal(name_of(function), f"over dimensions {dim} mixes clips, or they do not exist", remedy)
    if name in PLACES and FRAMES in axes[1:]:
        raise refusal(name_of(function), f"over dimension {dim} of {x} has no rule", REMEDY)
    inner, _, clips = _clips_of(x, axes)
    kept = [axis for axis in range(1, x.frames.ndim) if axis not in inner]
    shaped = partial(reduced, x, kept, [x.frames.shape[axis] for axis in kept], dims, keepdim)
    if FRAMES in axes:
        run = partial(function, dim=2, **kwargs)
        return _each_result(lambda dense: run(dense.flatten(2)), clips, name_of(function), lambda out, _: out, shaped)
    out = function(to_frames(clips)[0], dim=1, **kwargs)  # (S, inner, 1, kept) -> (S, 1, kept)
    return _each(out, lambda frames: shaped(of_layout(frames.unsqueeze(1), x.layout)))


def reduced(x: View, kept: list[int], sizes: Sequence[int], dims: set[int], keepdim: bool, result: Any) -> Any:
    """The reduced view, from clips or a tensor with one channel for each value that is kept."""
    new = {axis: at for at, axis in enumerate(kept, start=1)}
    if result is None:
        return None
    left = [tuple(new.get(axis, axis) for axis in dim if axis in new or axis <= FRAMES) for dim in x.dims]
    left = [() if index in dims else dim for index, dim in enumerate(left) if keepdim or index not in dims]
    if isinstance(result, PackedClips):
        return View(View.of(result).frames.reshape(-1, *sizes), x.layout, tuple(left)).with_dims(left)
    layout = x.layout.of((1,) * len(result))
    return settled(View(result.reshape(-1, *sizes), layout, tuple(left)))


def _clips_of(x: View, axes: Sequence[int]) -> tuple[list[int], list[int], PackedClips]:
    """A view as clips with these axes as rows and the others as channels; the inner axes, and all sizes."""
    inner = [axis for axis in axes if axis > FRAMES]
    kept = [axis for axis in range(1, x.frames.ndim) if axis not in inner]
    frames = x.frames.permute(0, *inner, *kept)
    rows = frames.shape[1 : 1 + len(inner)].numel()
    return inner, list(frames.shape[1:]), of_layout(frames.reshape(len(frames), rows, 1, -1), x.layout)


def _each_result(run: Callable, clips: PackedClips, name: str, shape: Callable, back: Callable) -> Any:
    """The result, or results, of a function that runs once per distinct length."""
    several: list[Any] = []

    def result(index: int) -> Any:
        def named(dense: Tensor) -> Tensor:
            out = run(dense)
            if not isinstance(out, Tensor):
                several[:] = type(out), len(out)
                out = out[index]
            return shape(out, dense.shape[3])

        named.__name__ = name
        return back(each_alone(named, clips))

    first = result(0)
    return several[0]([first, *map(result, range(1, several[1]))]) if several else first


def _each(out: Any, back: Callable) -> Any:
    return back(out) if isinstance(out, Tensor) else type(out)([back(part) for part in out])


def _view_of(x: Any) -> View:
    return x if isinstance(x, View) else View.of(x)


@handles(F.normalize)
def normalize(input: PackedClips, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: None = None) -> PackedClips:
    return input / torch.linalg.vector_norm(input, p, dim, keepdim=True).clamp_min(eps)


for _table, _run in ((ALONG, along), (REDUCTIONS, reduction)):
    for _name, _names in _table.items():
        for _home in (torch, Tensor, F, torch.linalg if _name == "vector_norm" else F):
            _function = getattr(_home, _name, None)
            if callable(_function):
                handles(_function)(partial(_run, _function, _names))
                RULES[_function] = partial(_run, _function, _names)
