"""1-D convolutions and pools along time, of views (N, C, T) or (N * rows * columns, C, T).

`F.conv1d(x.mean((3, 4)), w)`, and `F.conv1d(x.permute(0, 3, 4, 1, 2).reshape(-1, c, t), w)`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from slowfast_atfr.packed.clips import PackedClips, of_layout
from slowfast_atfr.packed.dispatch import name_of, refusal
from slowfast_atfr.packed.views import CLIPS, FRAMES, REMEDY, RULES, View, settled


def _as_clips(function: Callable, x: View) -> PackedClips:
    """(N * P, C, T) as clips (N, C, T, P, 1)."""
    first, channels, last = x.dims if x.ndim == 3 else ((), (), ())
    if first[:1] != (CLIPS,) or last != (FRAMES,) or FRAMES in (*first, *channels):
        raise refusal(name_of(function), f"of {x} has no rule, only of (N, C, T)", REMEDY)
    frames = x.in_order()
    rows = frames.shape[1 : len(first)].numel()
    return of_layout(frames.reshape(len(frames), rows, 1, -1), x.layout)


def _as_view(clips: PackedClips, x: View) -> View:
    first = (CLIPS, 1) if len(x.dims[0]) > 1 else (CLIPS,)
    view = View.of(clips)
    return settled(View(view.frames, clips.layout, (first, (3,), (FRAMES,))))


def _conv1d(
    x: View,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> View:
    stride, dilation = _one(stride), _one(dilation)
    padding = padding if isinstance(padding, str) else (_one(padding), 0, 0)
    steps = ((stride, 1, 1), padding, (dilation, 1, 1))
    return _as_view(F.conv3d(_as_clips(F.conv1d, x), weight[..., None, None], bias, *steps, groups), x)


def _pool1d(function: Callable, x: View, kernel_size: Any, stride: Any = None, padding: Any = 0, **rest: Any) -> View:
    pool = F.max_pool3d if "max" in function.__name__ else F.avg_pool3d
    kernel = _one(kernel_size)
    stride = kernel if stride is None or stride == () else _one(stride)
    clips = _as_clips(function, x)
    return _as_view(pool(clips, (kernel, 1, 1), (stride, 1, 1), (_one(padding), 0, 0), **rest), x)


def _global_pool(function: Callable, x: View, output_size: Any, return_indices: bool = False) -> Any:
    """To one value: over the last dimension, or the last two."""
    ndim = 1 if "1d" in function.__name__ else 2
    sizes = (output_size,) if isinstance(output_size, int) else tuple(output_size)
    if set(sizes) != {1} or return_indices:
        raise refusal(name_of(function), f"of {x} to {output_size} has no rule, only to 1", REMEDY)
    dims = list(range(x.ndim - ndim, x.ndim))
    return RULES[torch.amax if "max" in function.__name__ else torch.mean](x, dims, keepdim=True)


def _one(size: Any) -> int:
    return size[0] if isinstance(size, tuple | list) else size


RULES.update(dict.fromkeys((F.conv1d, torch.conv1d), _conv1d))
for _function in (F.max_pool1d, torch.max_pool1d, F.avg_pool1d, torch.avg_pool1d):
    RULES[_function] = partial(_pool1d, _function)
for _name in ("adaptive_avg_pool1d", "adaptive_max_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool2d"):
    RULES[getattr(F, _name)] = partial(_global_pool, getattr(F, _name))
RULES[torch.adaptive_avg_pool1d] = partial(_global_pool, F.adaptive_avg_pool1d)
