"""More functions that only move dimensions of packed clips: `movedim`, `swapdims`, and `expand` of sizes of 1."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from slowfast_atfr.packed.clips import PackedClips
from slowfast_atfr.packed.dispatch import handles, refusal
from slowfast_atfr.packed.ragged import RaggedLength, full_size
from slowfast_atfr.packed.ragged_sizes import expand_clips
from slowfast_atfr.packed.views import MOVES, View, dim_of, of_clips, transpose, view


def _order(x: View, source: int | Sequence[int], destination: int | Sequence[int]) -> list[int]:
    """The permutation that moves these dimensions there."""
    pairs = ([entry] if isinstance(entry, int) else list(entry) for entry in (source, destination))
    source, destination = ([dim_of(x, dim) for dim in dims] for dims in pairs)
    if len(set(source)) != len(destination) or len(set(destination)) != len(source):
        raise RuntimeError(f"movedim takes each dimension once, got {source} to {destination}")
    order = [dim for dim in range(x.ndim) if dim not in source]
    for place, dim in sorted(zip(destination, source, strict=True)):
        order.insert(place, dim)
    return order


def movedim(x: View, source: int | Sequence[int], destination: int | Sequence[int]) -> Any:
    return MOVES[Tensor.permute](x, _order(x, source, destination))


def expand(x: View, *size: Any, **_: Any) -> View:
    """Dimensions of size 1, except clips and time, to other sizes."""
    size = full_size(size)
    if len(size) != x.ndim:
        raise refusal("expand", f"of {x} to {size} has no rule", "Name as many sizes as there are dimensions")
    frames, dims = x.frames, []
    for own, dim, wanted in zip(x.shape, x.dims, size, strict=True):
        keeps = isinstance(wanted, int) and wanted == -1 or _agree(own, wanted)
        if not keeps and (isinstance(own, RaggedLength) or isinstance(wanted, RaggedLength) or own != 1):
            raise refusal("expand", f"of {x} to {size} has no rule", "Dimensions of size 1 but time can be expanded")
        if not keeps:
            frames, dim = frames.unsqueeze(-1).expand(*frames.shape, wanted), (frames.ndim,)
        dims.append(dim)
    return View(frames, x.layout).with_dims(dims)


def unflatten(x: View, dim: int, sizes: Sequence[int]) -> Any:
    dim = dim_of(x, dim)
    return view(x, (*x.shape[:dim], *sizes, *x.shape[dim + 1 :]))


def _agree(own: Any, wanted: Any) -> bool:
    if isinstance(own, RaggedLength) and isinstance(wanted, RaggedLength):
        return own.lengths == wanted.lengths
    return not isinstance(own, RaggedLength) and not isinstance(wanted, RaggedLength) and own == wanted


MOVES.update(dict.fromkeys((Tensor.movedim, torch.movedim, Tensor.moveaxis, torch.moveaxis), movedim))
MOVES.update(dict.fromkeys((Tensor.unflatten, torch.unflatten), unflatten))
MOVES.update(dict.fromkeys((Tensor.swapdims, torch.swapdims), transpose))
MOVES.update(dict.fromkeys((Tensor.expand, Tensor.broadcast_to, torch.broadcast_to), expand))


handles(Tensor.swapdims, torch.swapdims)(partial(of_clips, transpose))
handles(Tensor.unflatten, torch.unflatten)(partial(of_clips, unflatten))
handles(Tensor.movedim, torch.movedim, Tensor.moveaxis, torch.moveaxis)(partial(of_clips, movedim))
handles(Tensor.broadcast_to, torch.broadcast_to)(expand_clips)


@handles(Tensor.view_as, Tensor.reshape_as)
def _view_as(input: PackedClips, other: Any) -> Any:
    return view(View.of(input), tuple(other.shape))
