"""What is neither elementwise, nor a reduction, nor a convolution or pool: norms, dropout, padding, channels and crops.

Functions that treat every clip on its own, but look across its frames, run once per distinct length.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed.clips import FRAME_DIM, PackedClips, to_frames
from slowfast_atfr.packed.convert import each_alone, native
from slowfast_atfr.packed.dispatch import handles, refusal

for _function in (F.prelu, F.channel_shuffle):
    handles(_function)(partial(native, _function))


def _batch_norm(function: Callable, input: PackedClips, *args: Any, **kwargs: Any) -> PackedClips:
    """In training over the frames of clips alone, not over what stands between them."""
    training = kwargs.get("training", args[4] if len(args) > 4 else False)
    return native(function, input, *args, **kwargs) if training else input.like(function(input.rows, *args, **kwargs))


for _function in (F.batch_norm, torch.batch_norm):
    handles(_function)(partial(_batch_norm, _function))

for _function in (F.group_norm, torch.group_norm, F.conv_transpose3d, F.interpolate):
    handles(_function)(partial(each_alone, _function))


@handles(F.instance_norm)
def instance_norm(
    input: PackedClips,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> PackedClips:
    """As a batch or group norm: torch's own has a wrong gradient for one clip in channels last (2.13, CPU)."""
    if use_input_stats and running_mean is not None:
        remedy = "Build it with track_running_stats=False, or use batch norm"
        raise refusal("instance_norm", "would update its running statistics once per distinct length", remedy)
    if not use_input_stats:
        return native(F.batch_norm, input, running_mean, running_var, weight, bias, False, momentum, eps)
    return each_alone(F.group_norm, input, input.shape[1], weight, bias, eps)


def _softmax(function: Callable, input: PackedClips, dim: int | None = None, *args: Any, **kwargs: Any) -> PackedClips:
    if dim not in (1, -4):
        raise refusal("softmax", f"over dimension {dim} is not defined for packed clips, only over channels, dim=1")
    return input.with_frames(function(to_frames(input)[0], 3, *args, **kwargs))


for _function in (F.softmax, torch.softmax, Tensor.softmax, F.log_softmax, torch.log_softmax, Tensor.log_softmax):
    handles(_function)(partial(_softmax, _function))


@handles(F.dropout3d)
def dropout3d(input: PackedClips, p: float = 0.5, training: bool = True, inplace: bool = False) -> PackedClips:
    """Drop whole channels of a clip: one mask per clip, for all of its frames."""
    mask = F.dropout(input.rows.new_ones(len(input), input.shape[1], 1, 1, 1), p, training)
    return input.mul_(mask) if inplace else input * mask


@handles(F.pad)
def pad(input: PackedClips, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> PackedClips:
    by_dim = [*pad, *(0,) * (10 - len(pad))]  # W, H, T, C, N, two entries each
    if any(by_dim[8:]):
        raise refusal("pad", f"by {tuple(pad)} would add clips", "Pad channels, time and space only")
    if any(by_dim[4:6]):
        return each_alone(F.pad, input, pad, mode, value)
    return native(F.pad, input, pad, mode, value)


@handles(Tensor.__getitem__)
def getitem(input: PackedClips, index: Any) -> PackedClips:
    """A slice of channels, rows or columns, such as x[:, :8] or x[..., 2:-2, 2:-2]."""
    index = index if isinstance(index, tuple) else (index,)
    if sum(entry is Ellipsis for entry in index) == 1:
        at = next(position for position, entry in enumerate(index) if entry is Ellipsis)
        index = (*index[:at], *(slice(None),) * (6 - len(index)), *index[at + 1 :])
    index = (*index, *(slice(None),) * (5 - len(index)))
    slices = len(index) == 5 and all(isinstance(entry, slice) for entry in index)
    if not slices or index[0] != slice(None) or index[2] != slice(None):
        raise refusal("x[...]", "takes slices of channels and of space only, and every clip and frame")
    return input.with_frames(to_frames(input)[0][:, index[3], index[4], index[1]])


@handles(torch.chunk, Tensor.chunk)
def chunk(input: PackedClips, chunks: int, dim: int = 0) -> tuple[PackedClips, ...]:
    return _pieces("chunk", input, dim, lambda frames, frame_dim: frames.chunk(chunks, frame_dim))


@handles(torch.split, Tensor.split)
def split(input: PackedClips, split_size: int | Sequence[int], dim: int = 0) -> tuple[PackedClips, ...]:
    return _pieces("split", input, dim, lambda frames, frame_dim: frames.split(split_size, frame_dim))


def _pieces(op: str, x: PackedClips, dim: int, cut: Callable) -> tuple[PackedClips, ...]:
    return tuple(x.with_frames(piece) for piece in cut(to_frames(x)[0], _frame_dim(op, dim)))


@handles(torch.cat, torch.concat, torch.concatenate)
def cat(tensors: Sequence[PackedClips], dim: int = 0) -> PackedClips:
    """Along channels, or rows or columns; the lengths must be equal."""
    if not all(isinstance(other, PackedClips) for other in tensors):
        raise refusal("cat", "got packed and dense clips together", "Pack the dense ones, with pack_dense(x)")
    x = tensors[0]
    if any(other.lengths != x.lengths for other in tensors):
        lengths = " and ".join(str(other.lengths) for other in tensors)
        raise refusal("cat", f"got clips of {lengths} frames", "pad_lengths(x, lengths) brings them to equal lengths")
    return x.with_frames(torch.cat([to_frames(other)[0] for other in tensors], _frame_dim("cat", dim)))


def _frame_dim(op: str, dim: int) -> int:
    """Where a dimension of (N, C, T, H, W) stands in (S, H, W, C)."""
    if dim % 5 not in FRAME_DIM or not -5 <= dim < 5:
        raise refusal(op, f"along dimension {dim} is not defined for packed clips, only along 1, 3 and 4")
    return FRAME_DIM[dim % 5]


@handles(Tensor.contiguous)
def contiguous(input: PackedClips, memory_format: torch.memory_format = torch.contiguous_format) -> PackedClips:
    """x itself: packed clips have one layout."""
    return input


def _new(function: Callable, input: PackedClips, *size: Any, **kwargs: Any) -> Tensor:
    """An ordinary tensor of x's type and device, such as a mask with one entry per clip."""
    return function(input.rows, *size, **kwargs)


for _function in (Tensor.new_empty, Tensor.new_zeros, Tensor.new_ones, Tensor.new_full, Tensor.new_tensor):
    handles(_function)(partial(_new, _function))


@handles(torch.is_floating_point, Tensor.is_floating_point)
def is_floating_point(input: PackedClips) -> bool:
    return input.rows.is_floating_point()
