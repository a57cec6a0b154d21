"""Packed clips with other dimensions than (N, C, T, H, W), as view, transpose, flatten or squeeze return them.

Nothing is copied until the dimensions are (N, C, T, H, W) again. The result is an ordinary tensor where N and T become
one dimension, the frames of all clips, and where every clip has one frame and T is dropped.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slowfast_atfr.packed.clips import PackedClips, of_layout, to_frames
from slowfast_atfr.packed.cpu_quirks import reshaped
from slowfast_atfr.packed.dispatch import HANDLERS, handles, name_of, refusal
from slowfast_atfr.packed.dispatch import REMEDY as REMEDY_PER_LENGTH
from slowfast_atfr.packed.layout import Layout
from slowfast_atfr.packed.operators import Operators, operator_of
from slowfast_atfr.packed.ragged import RaggedLength, full_size

CLIPS, FRAMES = -1, 0  # the axes N and T; axis i > 0 is dimension i of the frames
REMEDY = "Bring clips back to (N, C, T, H, W) first, with the inverse view or permute. " + REMEDY_PER_LENGTH
TIME_FIRST = "Reduce over time before, as x.mean(2) and adaptive pools to one frame do. " + REMEDY_PER_LENGTH
RULES: dict[Callable, Callable] = {}  # the rule of each function for a View, except those here that move dimensions


@dataclass(frozen=True, eq=False)
class View(Operators):
    """Packed clips with other dimensions.

    Args:
        frames: (S, ...) with one dimension for each axis of a frame, in any memory layout.
        layout: of the clips.
        dims: the axes of each dimension, outermost first; none where its size is 1.
    """

    frames: Tensor
    layout: Layout
    dims: tuple[tuple[int, ...], ...] = field(default=((CLIPS,), (3,), (FRAMES,), (1,), (2,)))

    @classmethod
    def of(cls, x: PackedClips) -> "View":
        return cls(to_frames(x)[0], x.layout)

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call_on_view(func, *args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Callable:
        method = getattr(Tensor, name, None)
        if name.startswith("__") or not callable(method):
            raise AttributeError(f"a view of PackedClips has no attribute {name!r}. {REMEDY}.")
        return partial(call_on_view, method, self)

    dtype = property(lambda self: self.frames.dtype)
    device = property(lambda self: self.frames.device)
    requires_grad = property(lambda self: self.frames.requires_grad)
    ndim = property(lambda self: len(self.dims))
    __iadd__, __isub__ = operator_of(Tensor.add_), operator_of(Tensor.sub_)
    __imul__, __itruediv__ = operator_of(Tensor.mul_), operator_of(Tensor.div_)
    mT = property(lambda self: transpose(self, -2, -1))

    def dim(self) -> int:
        return len(self.dims)

    def __len__(self) -> int:
        return self.shape[0]

    def __bool__(self) -> bool:
        raise refusal("bool(x)", "of a view of packed clips is ambiguous", "Test `x is None`, or reduce to one number")

    def __repr__(self) -> str:
        return f"View{self.shape} of {len(self.layout.lengths)} packed clips"

    @property
    def shape(self) -> tuple[int | RaggedLength, ...]:
        return tuple(self._size(dim) for dim in self.dims)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def _size(self, axes: Sequence[int]) -> int | RaggedLength:
        size: Any = 1
        for axis in axes:
            size = size * self.axis_size(axis)
        return size

    def axis_size(self, axis: int) -> int | RaggedLength:
        if axis == CLIPS:
            return len(self.layout.lengths)
        return (
            RaggedLength(self.layout.lengths, self.layout, self.device) if axis == FRAMES else self.frames.shape[axis]
        )

    def with_dims(self, dims: Iterable[tuple[int, ...]]) -> Any:
        """These frames with other dimensions: packed clips if they are (N, C, T, H, W), or an ordinary tensor."""
        return settled(View(self.frames, self.layout, tuple(dims)))

    def in_order(self) -> Tensor:
        """(S, ...) frames with axes in the order of the dimensions; axes of size 1 in no dimension are last."""
        inner = [axis for dim in self.dims for axis in dim if axis > FRAMES]
        rest = [axis for axis in range(1, self.frames.ndim) if axis not in inner]
        return self.frames.permute(0, *inner, *rest)

    def plain(self) -> "View | None":
        """The view with one axis per dimension, in order, and one for the axes that share a dimension with N or T.

        None where N or T is not the first axis of its dimension.
        """
        heads = [dim[:1] if dim[:1] in ((CLIPS,), (FRAMES,)) else () for dim in self.dims]
        rests = [dim[len(head) :] for dim, head in zip(self.dims, heads, strict=True)]
        if any(axis <= FRAMES for rest in rests for axis in rest):
            return None
        inner = [bool(rest) or not head for rest, head in zip(rests, heads, strict=True)]
        sizes = (self._size(rest) for rest, is_inner in zip(rests, inner, strict=True) if is_inner)
        frames = self.in_order().reshape(len(self.frames), *sizes)
        axes = iter(range(1, frames.ndim))
        dims = (head + ((next(axes),) if is_inner else ()) for head, is_inner in zip(heads, inner, strict=True))
        return View(frames, self.layout, tuple(dims))


def settled(view: View) -> Any:
    """A View, or packed clips or a tensor where its dimensions allow it: see View.with_dims."""
    dims, frames = view.dims, view.frames
    used = {axis for dim in dims for axis in dim}
    if max(view.layout.lengths) == 1 and (FRAMES,) not in dims:
        dims, used = tuple(tuple(axis for axis in dim if axis != FRAMES) for dim in dims), used - {FRAMES}
        view = View(frames, view.layout, dims)
    rows = tuple(_frames_in_a_row(dim) for dim in dims)
    if rows != dims or FRAMES not in used:
        order = [max(axis, 0) for dim in rows for axis in dim]  # N, or N and T, is dimension 0 of the frames
        order += [axis for axis in range(frames.ndim) if axis not in order]
        return reshaped(frames.permute(order), [prod(frames.shape[max(axis, 0)] for axis in dim) for dim in rows])
    if len(dims) != 5 or dims[0] != (CLIPS,) or dims[2] != (FRAMES,):
        return view
    channels, height, width = (view._size(dims[at]) for at in (1, 3, 4))
    order = View(frames, view.layout, (dims[3], dims[4], dims[1])).in_order()
    return of_layout(order.reshape(len(frames), height, width, channels), view.layout)


def _frames_in_a_row(dim: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a dimension; N followed by T is written as N."""
    return tuple(axis for at, axis in enumerate(dim) if axis != FRAMES or at == 0 or dim[at - 1] != CLIPS)


def call_on_view(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Run a torch function on arguments among which is a View.

    Raises:
        TypeError: if there is no rule for it, or it would mix frames.
    """
    if not args and "input" in kwargs:
        args = (kwargs.pop("input"),)
    if function in MOVES and args and isinstance(args[0], View):
        return MOVES[function](args[0], *args[1:], **kwargs)
    rule = RULES.get(function)
    if rule is None:
        raise refusal(name_of(function), "has no rule for a view of packed clips", REMEDY)
    return rule(*args, **kwargs)


def view(x: View, *size: Any, shape: Sequence[Any] = ()) -> Any:
    """Match the new sizes to the axes from left to right; refuse where N or T would have to be split.

    `queue` has the axes that are not used yet. Each new dimension takes whole axes, or a factor of an axis within the
    frame, until their product `have`, a number for each clip, is its size `target`. For example (N, C, T, H, W) to
    (n, g, c // g, T, h, w) splits C in two. T of the clips themselves takes all that is left of N and T.
    """
    size = full_size(size or (tuple(shape),))
    count = len(x.layout.lengths)
    targets = [np.array(entry.lengths if isinstance(entry, RaggedLength) else [entry] * count) for entry in size]
    queue = deque((axis, _column(x, axis)) for dim in x.dims for axis in dim)
    total = np.prod([column for _, column in queue], axis=0)
    rest = [index for index, entry in enumerate(size) if _is_rest(entry)]
    if rest:
        known = np.prod([target for target, entry in zip(targets, size, strict=True) if not _is_rest(entry)], axis=0)
        targets[rest[0]] = total // known
    if not (np.prod(targets, axis=0) == total).all():
        raise refusal("view", f"of {x.shape} cannot be {tuple(size)} for every clip", TIME_FIRST)
    pieces: dict[int, list[int]] = {}  # of each axis within the frame
    dims: list[list[tuple[int, int]]] = []
    for target, entry in zip(targets, size, strict=True):
        dims.append([])
        have, wants_frames = np.ones(count, dtype=np.int64), isinstance(entry, RaggedLength)
        while queue:
            axis, column = queue[0]
            done = (have == target).all() and not (wants_frames and any(a == FRAMES for a, _ in queue))
            if done and axis == FRAMES and dims[-1] == [(CLIPS, -1)] and _is_rest(entry):
                done = (column > 1).any()  # clips of one frame, all frames in a row
            if done and not (axis == CLIPS and (target % column == 0).all() and not dims[-1]):
                break
            whole = (target % (have * column) == 0).all()
            need = target // have
            if not whole and (axis <= FRAMES or len(set(need)) > 1 or (column % need).any() or need[0] == 1):
                raise refusal("view", f"of {x.shape} to {tuple(size)} would mix frames", TIME_FIRST)
            queue.popleft()
            if not whole:
                queue.appendleft((axis, column // need))
                column = need
            if axis > FRAMES:
                pieces.setdefault(axis, []).append(int(column[0]))
            dims[-1].append((axis, len(pieces.get(axis, ())) - 1))
            have = have * column
    for axis, column in queue:  # of size 1
        if axis > FRAMES:
            pieces.setdefault(axis, []).append(int(column[0]))
    return _split_axes(x, pieces, dims)


def _is_rest(entry: int | RaggedLength) -> bool:
    return not isinstance(entry, RaggedLength) and entry == -1


def _column(x: View, axis: int) -> np.ndarray:
    """(N,) size of an axis in each clip."""
    size = x.axis_size(axis)
    count = len(x.layout.lengths)
    return np.array(size.lengths if isinstance(size, RaggedLength) else [size] * count, dtype=np.int64)


def _split_axes(x: View, pieces: dict[int, list[int]], dims: list[list[tuple[int, int]]]) -> Any:
    """Split axes of frames into pieces; dims names a piece by its axis and its index there."""
    first, sizes = {}, []
    for axis in range(1, x.frames.ndim):
        first[axis] = 1 + len(sizes)
        sizes += pieces.get(axis, [x.frames.shape[axis]])
    frames = x.frames
    for axis in reversed(range(1, x.frames.ndim)):
        frames = frames.unflatten(axis, pieces.get(axis, [frames.shape[axis]]))
    named = (tuple(first[axis] + piece if axis > FRAMES else axis for axis, piece in dim) for dim in dims)
    return View(frames, x.layout).with_dims(named)


def permute(x: View, *order: Any, dims: Sequence[int] = ()) -> Any:
    order = [dim % x.ndim for dim in full_size(order or (tuple(dims),)) if -x.ndim <= dim < x.ndim]
    if sorted(order) != list(range(x.ndim)):
        raise refusal("permute", f"of {x.ndim} dimensions does not take {order}", "It takes each of them once")
    return x.with_dims(x.dims[dim] for dim in order)


def transpose(x: View, dim0: int, dim1: int) -> Any:
    dims = list(x.dims)
    dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return x.with_dims(dims)


def dim_of(x: PackedClips | View, dim: int, new: int = 0) -> int:
    """A dimension counted from the front; new: number of dimensions to be added."""
    if not -(ndim := x.ndim + new) <= dim < ndim:
        raise IndexError(f"dimension {dim} of {ndim}")
    return dim % ndim


def flatten(x: View, start_dim: int = 0, end_dim: int = -1) -> Any:
    start, end = dim_of(x, start_dim), dim_of(x, end_dim)
    if start > end:
        raise RuntimeError(f"flatten has start_dim {start_dim} after end_dim {end_dim}")
    merged = tuple(axis for dim in x.dims[start : end + 1] for axis in dim)
    return x.with_dims((*x.dims[:start], merged, *x.dims[end + 1 :]))


def unsqueeze(x: View, dim: int) -> Any:
    dims = list(x.dims)
    dims.insert(dim_of(x, dim, 1), ())
    return x.with_dims(dims)


def squeeze(x: View, dim: int | Sequence[int] | None = None) -> Any:
    """Drop the given dimensions of size 1; N stays, even for one clip."""
    every = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    dropped = []
    for index in (dim_of(x, index) for index in every):
        sizes = {int(size) for size in np.prod([_column(x, axis) for axis in x.dims[index]] or [[1]], axis=0)}
        if 1 in sizes and len(sizes) > 1:
            reason = f"of dimension {index} would drop it for some clips only, of {x.layout.lengths} frames"
            raise refusal("squeeze", reason, "Reduce over time first")
        if sizes == {1} and CLIPS not in x.dims[index]:
            dropped.append(index)
    return x.with_dims(dim for index, dim in enumerate(x.dims) if index not in dropped)


def same(x: View, **_: Any) -> View:
    return x


MOVES: dict[Callable, Callable] = {
    **dict.fromkeys((Tensor.view, Tensor.reshape, torch.reshape), view),
    **dict.fromkeys((Tensor.permute, torch.permute), permute),
    **dict.fromkeys((Tensor.transpose, torch.transpose, Tensor.swapaxes, torch.swapaxes), transpose),
    **dict.fromkeys((Tensor.flatten, torch.flatten), flatten),
    **dict.fromkeys((Tensor.squeeze, torch.squeeze), squeeze),
    **dict.fromkeys((Tensor.unsqueeze, torch.unsqueeze), unsqueeze),
    Tensor.contiguous: same,
}


def of_clips(rule: Callable, input: PackedClips, *args: Any, **kwargs: Any) -> Any:
    """Apply a rule for views to packed clips."""
    return rule(View.of(input), *args, **kwargs)


for _function, _move in MOVES.items():
    if _function not in HANDLERS and _move is not same:
        handles(_function)(partial(of_clips, _move))
