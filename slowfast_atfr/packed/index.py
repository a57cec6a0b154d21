"""Parts of packed clips along channels, time and space: indexing, splitting, repeating, flipping and rolling."""

import operator
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slowfast_atfr.packed.clips import FRAME_DIM, PackedClips, to_frames
from slowfast_atfr.packed.convert import to_dense
from slowfast_atfr.packed.dispatch import handles, refusal
from slowfast_atfr.packed.frames import pick
from slowfast_atfr.packed.gather_scatter import spread
from slowfast_atfr.packed.ragged import RaggedLength, full_size
from slowfast_atfr.packed.views import CLIPS, FRAMES, RULES, View, dim_of

ALL = slice(None)
EVERY = "takes parts of channels, frames and space only, of every clip"


def frame_dim(op: str, dim: int) -> int:
    """The dimension of (S, H, W, C) for one of (N, C, T, H, W)."""
    if dim % 5 not in FRAME_DIM or not -5 <= dim < 5:
        raise refusal(op, f"along dimension {dim} is not defined for packed clips, only along 1, 3 and 4")
    return FRAME_DIM[dim % 5]


def _entries(index: Any, ndim: int) -> list[Any]:
    """One entry for each dimension, and None for each new one."""
    index = list(index) if isinstance(index, tuple) else [index]
    kinds = int | RaggedLength | slice | list | Tensor | type(...)
    known = (entry is None or isinstance(entry, kinds) for entry in index)
    odd = any(isinstance(entry, bool) or (isinstance(entry, Tensor) and entry.ndim != 1) for entry in index)
    if odd or not all(known):
        raise refusal("x[...]", EVERY)
    missing = ndim - sum(entry is not None and entry is not ... for entry in index)
    at = next((place for place, entry in enumerate(index) if entry is ...), len(index))
    index[at : at + 1] = [ALL] * missing
    lists = [entry for entry in index if isinstance(entry, list | Tensor)]
    if missing < 0 or any(entry is ... for entry in index) or len(lists) > 1:
        raise refusal("x[...]", EVERY)
    return index


def _index_view(x: View, index: Any) -> Any:
    """x[index]: integers drop a dimension, None adds one."""
    frames, layout, dims, old = x.frames, x.layout, [], iter(x.dims)
    for entry in _entries(index, x.ndim):
        if entry is None:
            dims.append(())
            continue
        dim = next(old)
        if not isinstance(entry, int | RaggedLength):
            dims.append(dim)
        if isinstance(entry, slice) and entry == ALL:
            continue
        if dim == (FRAMES,):
            frames, layout = pick(frames, layout, "x[...]", partial(_frames_at, entry))
            continue
        if len(dim) != 1 or dim[0] == CLIPS or isinstance(entry, RaggedLength):
            raise refusal("x[...]", EVERY)
        if isinstance(entry, int):
            frames = frames.narrow(dim[0], range(frames.shape[dim[0]])[entry], 1)
        else:
            frames = frames[(ALL,) * dim[0] + (entry,)]
    return View(frames, layout, x.dims).with_dims(dims)


def _frames_at(entry: Any, clip: int, length: int) -> list[int]:
    """The frames of a clip that an index along time selects."""
    if isinstance(entry, slice):
        start, stop, step = (_of_clip(bound, clip) for bound in (entry.start, entry.stop, entry.step))
        if step is not None and step <= 0:
            raise ValueError(f"step must be greater than zero, got {step} for clip {clip}")
        return list(range(length)[start:stop:step])
    if isinstance(entry, Tensor) or isinstance(entry, list) and bool in map(type, entry):
        return _numbers(length)[entry.cpu() if isinstance(entry, Tensor) else entry].tolist()
    places = entry if isinstance(entry, list) else [_of_clip(entry, clip)]
    return [range(length)[place] for place in places]


def _numbers(size: int) -> Tensor:
    return torch.arange(size, device="cpu")


def _of_clip(number: Any, clip: int) -> Any:
    return number.lengths[clip] if isinstance(number, RaggedLength) else number


@handles(Tensor.__getitem__)
def getitem(input: PackedClips, index: Any) -> Any:
    """Parts of channels, frames, rows and columns, such as x[:, :8], x[:, :, 1:], x[:, [0, 2]] or x[..., -1].

    Frames are counted in each clip, and every clip keeps at least one.
    """
    if max(input.lengths) == 1 and _takes_clips(index):
        return to_dense(input)[index]
    return _index_view(View.of(input), index)


def _takes_clips(index: Any) -> bool:
    if isinstance(index, PackedClips | View):
        return False
    of_clips = next(entry for entry in _entries(index, 5) if entry is not None)
    return not isinstance(of_clips, slice) or of_clips != ALL


@handles(Tensor.__setitem__)
def setitem(input: PackedClips, index: Any, value: Any) -> None:
    """Write a number, clips of the same frames, or a tensor that broadcasts over frames to a part of the clips."""
    if isinstance(index, PackedClips):
        input.masked_fill_(index, value)
        return
    entries = _entries(index, 5)
    whole_clips = all(isinstance(entries[at], slice) and entries[at] == ALL for at in (0, 2))
    if not whole_clips or any(entry is None for entry in entries):
        raise refusal("x[...] = y", EVERY)
    inner = (entries[1], entries[3], entries[4])
    at = 2 - isinstance(entries[1], int)  # dimension T of x[index]
    ndim = 5 - sum(isinstance(entry, int) for entry in inner)
    to_frames(input)[0].permute(0, 3, 1, 2)[(ALL, *inner)] = _frames_of(value, input, at, ndim)


def _frames_of(value: Any, x: PackedClips, at: int, ndim: int) -> Any:
    """A value for (S, ...) frames, in which S replaces N and T; T is dimension `at` of `ndim`."""
    if isinstance(value, PackedClips):
        value = View.of(value)
    if isinstance(value, View):
        plain = value.plain()
        fits = plain is not None and plain.dims[0] == (CLIPS,) and plain.ndim == ndim and plain.dims[at] == (FRAMES,)
        if not fits or plain.layout.lengths != x.lengths:
            raise refusal("x[...] = y", f"of {x.lengths} frames got {value!r} of {value.layout.lengths} frames")
        return plain.frames
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value
    value = value[(None,) * (ndim - value.ndim)]
    if value.ndim != ndim or value.shape[at] != 1 or value.shape[0] not in (1, len(x)):
        raise refusal("x[...] = y", f"got a tensor of shape {tuple(value.shape)}", "It must broadcast over frames")
    value = value.squeeze(at)
    return spread(value, x.layout) if len(value) > 1 else value


@handles(torch.select, Tensor.select)
def select(input: PackedClips | View, dim: int, index: int) -> Any:
    return input[(ALL,) * dim_of(input, dim) + (index,)]


@handles(torch.narrow, Tensor.narrow)
def narrow(input: PackedClips, dim: int, start: int | Tensor, length: int) -> PackedClips:
    """`length` entries from `start`; along time both may be one number per clip."""
    dim, start = dim_of(input, dim), int(start) if isinstance(start, Tensor) else start

    def places(clip: int, size: int) -> range:
        first, count = (operator.index(_of_clip(number, clip)) for number in (start, length))
        if not -size <= first <= size:
            raise IndexError(f"start {first} is out of range")
        first += size if first < 0 else 0
        if count < 0 or first + count > size:
            raise RuntimeError(f"narrow: clip {clip} of {size} frames has no {count} from {first} on")
        return range(first, first + count)

    if dim == 2:
        return _pick("narrow", input, places)
    if dim == 0 and max(input.lengths) == 1:
        return to_dense(input).narrow(0, start, length)
    at = frame_dim("narrow", dim)
    if isinstance(start, RaggedLength) or isinstance(length, RaggedLength):
        raise refusal("narrow", EVERY)
    return input.with_frames(to_frames(input)[0].narrow(at, start, length))


@handles(torch.unbind, Tensor.unbind)
def unbind(input: PackedClips | View, dim: int = 0) -> tuple[Any, ...]:
    at, view = dim_of(input, dim), View.of(input) if isinstance(input, PackedClips) else input
    apart = [place for place, axes in enumerate(view.dims) if len(axes) == 1 and axes[0] not in (CLIPS, FRAMES)]
    if at not in apart and (view is input or at or max(input.lengths) > 1):
        only = ", only along " + " and ".join(", ".join(map(str, apart)).rsplit(", ", 1)) if apart else ""
        raise refusal("unbind", f"along dimension {dim} is not defined for these clips{only}")
    return tuple(select(input, dim, index) for index in range(input.shape[at]))


@handles(torch.chunk, Tensor.chunk)
def chunk(input: PackedClips, chunks: int, dim: int = 0) -> tuple[PackedClips, ...]:
    return _pieces("chunk", input, dim, lambda frames, at: frames.chunk(chunks, at))


@handles(torch.split, Tensor.split, torch.split_with_sizes, Tensor.split_with_sizes)
def split(input: PackedClips, split_size: int | Sequence[int], dim: int = 0) -> tuple[PackedClips, ...]:
    return _pieces("split", input, dim, lambda frames, at: frames.split(split_size, at))


@handles(torch.tensor_split, Tensor.tensor_split)
def tensor_split(input: PackedClips, indices_or_sections: Any, dim: int = 0) -> tuple[PackedClips, ...]:
    return _pieces("tensor_split", input, dim, lambda frames, at: frames.tensor_split(indices_or_sections, at))


@handles(torch.index_select, Tensor.index_select)
def index_select(input: PackedClips, dim: int, index: Tensor) -> PackedClips:
    dim = dim_of(input, dim)
    if dim == 2:
        return _pick("index_select", input, lambda _, length: _numbers(length).index_select(0, index.cpu()).tolist())
    if dim == 0 and max(input.lengths) == 1:
        return to_dense(input).index_select(0, index)
    return _pieces("index_select", input, dim, lambda frames, at: [frames.index_select(at, index)])[0]


@handles(torch.repeat_interleave, Tensor.repeat_interleave)
def repeat_interleave(input: PackedClips, repeats: Any, dim: int | None = None, **kwargs: Any) -> PackedClips:
    if dim is None:
        raise refusal("repeat_interleave", "without dim has no rule for packed clips", "Name channels or space, dim=1")
    if isinstance(repeats, int) and repeats < 0:
        raise RuntimeError(f"repeat_interleave: repeats cannot be negative, got {repeats}")
    if dim in (2, -3) and isinstance(repeats, int):
        return _pick("repeat_interleave", input, lambda _, length: np.repeat(range(length), repeats).tolist(), repeats)
    return _pieces("repeat_interleave", input, dim, lambda x, at: [x.repeat_interleave(repeats, at, **kwargs)])[0]


def _pick(op: str, x: PackedClips, choose: Callable[[int, int], Sequence[int]], key: Hashable = None) -> PackedClips:
    return x.with_frames(*pick(to_frames(x)[0], x.layout, op, choose, key))


def _pieces(op: str, x: PackedClips, dim: int, cut: Callable) -> tuple[PackedClips, ...]:
    return tuple(x.with_frames(piece) for piece in cut(to_frames(x)[0], frame_dim(op, dim)))


@handles(torch.flip, Tensor.flip)
def flip(input: PackedClips, *order: Any, dims: Any = ()) -> PackedClips:
    named = [dim_of(input, dim) for dim in full_size(order or (dims,))]
    dims = set(named)
    if len(dims) < len(named):
        raise RuntimeError(f"flip takes each dimension once, got {named}")
    if 2 in dims:
        input = _pick("flip", input, lambda _, length: range(length)[::-1], "flip")
    return input.with_frames(to_frames(input)[0].flip([frame_dim("flip", dim) for dim in dims - {2}]))


@handles(torch.roll, Tensor.roll)
def roll(input: PackedClips, shifts: Any, dims: Any = ()) -> PackedClips:
    """Roll each clip; the shift along time may be one number per clip, such as x.size(2) // 2."""
    dims, shifts = ([entry] if isinstance(entry, int | RaggedLength) else list(entry) for entry in (dims, shifts))
    if not dims:
        raise refusal("roll", "without dims mixes frames", "Name channels, time or space, dims=1")
    if len(dims) != len(shifts):
        raise RuntimeError(f"roll takes a shift for each dimension, got {len(shifts)} for {len(dims)}")
    pairs = [(shift, dim_of(input, dim)) for shift, dim in zip(shifts, dims, strict=True)]
    for shift in (shift for shift, dim in pairs if dim == 2):
        key = shift.lengths if isinstance(shift, RaggedLength) else shift
        input = _pick("roll", input, partial(_rolled, shift), key)
    inner = [(shift, frame_dim("roll", dim)) for shift, dim in pairs if dim != 2]
    if not inner:
        return input
    if any(isinstance(shift, RaggedLength) for shift, _ in inner):
        raise refusal("roll", "by a number for each clip is for time only")
    return input.with_frames(to_frames(input)[0].roll(*zip(*inner, strict=True)))


def _rolled(shift: Any, clip: int, length: int) -> list[int]:
    by = operator.index(_of_clip(shift, clip))
    return [(at - by) % length for at in range(length)]


@handles(Tensor.repeat, torch.tile, Tensor.tile)
def repeat(input: PackedClips, *repeats: Any) -> PackedClips:
    times = full_size(repeats)
    times = (1,) * (5 - len(times)) + times
    if len(times) != 5 or times[0] != 1 or times[2] != 1:
        raise refusal("repeat", f"{times} is not defined for packed clips, only along 1, 3 and 4")
    return input.with_frames(to_frames(input)[0].repeat(1, times[3], times[4], times[1]))


@handles(torch.stack)
def stack(tensors: Sequence[PackedClips], dim: int = 0) -> View:
    """Clips of the same lengths along a new dimension other than the first, as in selective kernel networks."""
    x = tensors[0]
    alike = all(isinstance(other, PackedClips) and other.lengths == x.lengths for other in tensors)
    at = dim_of(View.of(x), dim, 1) if alike else 0
    if not at:
        raise refusal("torch.stack", f"along dimension {dim} has no rule for these clips")
    dims = list(View.of(x).dims)
    dims.insert(at, (4,))
    return View(torch.stack([to_frames(other)[0] for other in tensors], -1), x.layout).with_dims(dims)


RULES[Tensor.__getitem__] = _index_view
RULES.update(dict.fromkeys((torch.unbind, Tensor.unbind), unbind))
RULES.update(dict.fromkeys((torch.select, Tensor.select), select))
