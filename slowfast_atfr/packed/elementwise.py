"""Elementwise functions: activations, arithmetic, comparisons, casts and copies.

One rule for all of them. Packed operands must have equal lengths and run on their data. A dense operand may broadcast
over clips and frames (0-d, (C, 1, 1, 1), (1, C, 1, 1, 1)), or hold one entry per clip, (N, C, 1, 1, 1), which is then
spread over the clip's frames. Anything else is a TypeError.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed.clips import PackedClips
from slowfast_atfr.packed.copies import spread
from slowfast_atfr.packed.dispatch import HANDLERS, name_of, refusal
from slowfast_atfr.packed.spaced import apart, flat, with_gaps

NAMES = """
    relu relu_ relu6 hardtanh hardtanh_ silu hardswish hardsigmoid leaky_relu leaky_relu_ elu elu_ selu celu gelu mish
    softplus softsign logsigmoid sigmoid sigmoid_ tanh tanh_ threshold
    add add_ sub sub_ rsub mul mul_ div div_ true_divide __rtruediv__ neg pow square sqrt rsqrt reciprocal exp log abs
    clamp clamp_ clamp_min clamp_max maximum minimum where
    eq ne lt le gt ge isnan isinf isfinite
    dropout alpha_dropout expand_as
    clone detach to float double half bfloat16 cpu cuda zeros_like ones_like requires_grad_
"""


def elementwise(function: Callable, *args: Any, **kwargs: Any) -> PackedClips:
    """Run an elementwise torch function on arguments of which at least one is packed."""
    x = args[0] if args else None
    if len(args) == 1 and isinstance(x, PackedClips) and not kwargs.keys() - {"inplace", "training", "p"}:
        return x.like(function(x.rows, **kwargs))  # the activations, without the search for operands
    packed = [value for value in (*args, *kwargs.values()) if isinstance(value, PackedClips)]
    x = packed[0]
    if any(other.lengths != x.lengths for other in packed):
        raise refusal(
            name_of(function),
            f"got clips of {' and '.join(str(other.lengths) for other in packed)} frames",
            "pad_lengths(x, lengths) brings them to equal lengths",
        )
    if "out" in kwargs or (function.__name__.endswith("_") and isinstance(args[0], Tensor)):
        raise refusal(name_of(function), "cannot write packed clips into a dense tensor", "Use its out-of-place form")
    in_place = function.__name__.endswith("_") and not function.__name__.endswith("__")
    x = args[0] if in_place else max(packed, key=lambda clips: clips.gap)
    operand = functools.partial(_operand, function, x)
    return x.like(function(*map(operand, args), **{name: operand(value) for name, value in kwargs.items()}))


def _operand(function: Callable, x: PackedClips, value: Any) -> Any:
    """What stands for an argument in the native call on (1, C, S, H, W)."""
    if isinstance(value, PackedClips):
        return value.rows if value.gap == x.gap else apart(flat(value), x.gap).rows
    if not isinstance(value, Tensor):
        return value
    shape = (1,) * (5 - value.ndim) + tuple(value.shape)
    if len(shape) == 5 and shape[2] == 1 and shape[0] == 1:
        return value
    if len(shape) == 5 and shape[2] == 1 and shape[0] == len(x):
        return spread(value.permute(0, 2, 3, 4, 1).squeeze(1), with_gaps(x)).unsqueeze(0).permute(0, 4, 1, 2, 3)
    raise refusal(
        name_of(function),
        f"got a dense tensor of shape {tuple(value.shape)} beside {len(x)} packed clips of {x.lengths} frames",
        f"Dense operands may have one entry per clip, ({len(x)}, C, 1, 1, 1), or broadcast over clips and frames; "
        "a dense batch of clips becomes packed by slowfast_atfr.packed.pack_dense",
    )


for _name in NAMES.split():
    for _home in (torch, Tensor, F):
        _function = getattr(_home, _name, None)
        if callable(_function):  # torch.float is a dtype, torch.cuda a module
            HANDLERS[_function] = functools.partial(elementwise, _function)
