"""Functions that get T of packed clips as a size: they return packed clips of these lengths.

Examples: `torch.zeros(n, c, x.size(2), h, w)` in a shortcut without parameters, `y.expand(n, c, x.size(2), h, w)` of a
tensor with an entry per clip, `frames.view(n, x.size(2), c, h, w)` of the output of a 2-D network for all frames.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from slowfast_atfr.packed.clips import PackedClips, of_layout, to_frames
from slowfast_atfr.packed.dispatch import SIZED, handles, name_of, refusal
from slowfast_atfr.packed.gather_scatter import spread
from slowfast_atfr.packed.ragged import RaggedLength, full_size, layout_of
from slowfast_atfr.packed.views import CLIPS, FRAMES, View

REMEDY = "A size of packed clips is (N, C, T, H, W), with T from x.size(2)"


def _filled(name: str, function: Callable, size: tuple, *args: Any, **kwargs: Any) -> PackedClips:
    """Packed clips from a function that makes a tensor of a given size."""
    frames = size[2] if len(size) == 5 else None
    ragged = [isinstance(entry, RaggedLength) for entry in size]
    if ragged != [False, False, True, False, False] or size[0] != len(frames.lengths):
        raise refusal(name, f"of {tuple(size)} has no rule", REMEDY)
    layout = layout_of(frames, name)
    kwargs.pop("memory_format", None)
    return of_layout(function((sum(layout.lengths), *size[3:], size[1]), *args, **kwargs), layout)


def _make(function: Callable, *size: Any, **kwargs: Any) -> PackedClips:
    size = full_size(size or (kwargs.pop("size"),))
    device = next((entry.device for entry in size if isinstance(entry, RaggedLength)), None)
    return _filled(name_of(function), function, size, **{"device": device, **kwargs})


def _make_full(function: Callable, size: Any, fill_value: Any, **kwargs: Any) -> PackedClips:
    device = next((entry.device for entry in size if isinstance(entry, RaggedLength)), None)
    return _filled(name_of(function), function, tuple(size), fill_value, **{"device": device, **kwargs})


def _make_like(function: Callable, like: Tensor, *size: Any, **kwargs: Any) -> PackedClips:
    return _filled(name_of(function), partial(function, like), full_size(size), **kwargs)


def _make_full_like(function: Callable, like: Tensor, size: Any, fill_value: Any, **kwargs: Any) -> PackedClips:
    return _filled(name_of(function), partial(function, like), tuple(size), fill_value, **kwargs)


def expand(function: Callable, input: Tensor, *size: Any, **_: Any) -> PackedClips:
    """(N or 1, C, 1, H, W) to the frames of packed clips."""
    size = full_size(size)
    if len(size) != 5 or not isinstance(size[2], RaggedLength) or (input.ndim == 5 and input.shape[2] != 1):
        raise refusal("expand", f"of {tuple(input.shape)} to {size} has no rule", REMEDY)
    layout = layout_of(size[2], "expand")
    dense = input.expand(len(layout.lengths) if size[0] == -1 else size[0], size[1], 1, size[3], size[4])
    if len(dense) != len(layout.lengths):
        raise refusal("expand", f"to {len(dense)} clips is not defined for {len(layout.lengths)}", REMEDY)
    return of_layout(spread(dense.permute(0, 2, 3, 4, 1).squeeze(1).contiguous(), layout), layout)


def repeat(function: Callable, input: Tensor, *repeats: Any) -> PackedClips:
    times = full_size(repeats)
    if input.ndim != 5 or len(times) != 5 or not isinstance(times[2], RaggedLength):
        raise refusal("repeat", f"of {tuple(input.shape)} {times} has no rule", REMEDY)
    dense = input.repeat(times[0], times[1], 1, times[3], times[4])
    return expand(function, dense, *dense.shape[:2], times[2], *dense.shape[3:])


def view(function: Callable, input: Tensor, *size: Any) -> Any:
    """(S, ...) frames of all clips to (N, T, ...), or (N, C, 1, H, W) of clips of one frame to (N, C, T, H, W)."""
    size = full_size(size)
    at = next(index for index, entry in enumerate(size) if isinstance(entry, RaggedLength))
    layout = layout_of(size[at], "view")
    if at == 1 and size[0] in (-1, len(layout.lengths)) and len(input) == sum(layout.lengths):
        frames = input.reshape(len(input), *size[2:])
        return View(frames, layout).with_dims(((CLIPS,), (FRAMES,), *((axis,) for axis in range(1, frames.ndim))))
    if max(layout.lengths) == 1:
        dense = input.reshape(*size[:at], 1, *size[at + 1 :])
        is_clips = dense.ndim == 5 and at == 2 and len(dense) == len(layout.lengths)
        return of_layout(dense.permute(0, 2, 3, 4, 1).squeeze(1), layout) if is_clips else dense
    raise refusal("view", f"of {tuple(input.shape)} to {size} has no rule", "Frames of all clips become (N, T, ...)")


@handles(Tensor.expand)
def expand_clips(input: PackedClips, *size: Any, **_: Any) -> PackedClips:
    """Channels, rows and columns of size 1 to more of them."""
    size = full_size(size)
    frames, lengths = to_frames(input)
    if len(size) != 5:
        raise refusal("expand", f"of clips of {lengths} frames to {size} has no rule", REMEDY)
    if isinstance(size[2], RaggedLength) and size[2].lengths != lengths and max(lengths) == 1:
        return expand(Tensor.expand, frames.permute(0, 3, 1, 2).unsqueeze(2), *size)
    same = isinstance(size[2], RaggedLength) and size[2].lengths == lengths
    kept = same or not isinstance(size[2], RaggedLength) and size[2] == -1
    if size[0] not in (-1, len(input)) or not kept:
        raise refusal("expand", f"of clips of {lengths} frames to {size} has no rule", REMEDY)
    return input.with_frames(frames.expand(-1, size[3], size[4], size[1]))


for _function in (torch.zeros, torch.ones, torch.empty, torch.rand, torch.randn):
    SIZED[_function] = _make
for _function in (Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty):
    SIZED[_function] = _make_like
SIZED.update({torch.full: _make_full, Tensor.new_full: _make_full_like})
SIZED.update({Tensor.expand: expand, Tensor.repeat: repeat, Tensor.view: view, Tensor.reshape: view})
SIZED[torch.reshape] = view
