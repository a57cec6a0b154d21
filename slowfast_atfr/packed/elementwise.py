"""Elementwise functions: activations, arithmetic, comparisons, casts and copies.

One rule for all of them. Packed operands must have equal lengths, or one frame in every clip. A dense operand may
broadcast over clips and frames (0-d, (C, 1, 1, 1), (1, C, 1, 1, 1)), or hold one entry per clip, (N, C, 1, 1, 1), which
is then expanded to the clip's frames, as are clips of one frame and T of packed clips. Anything else is a TypeError.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed.clips import PackedClips
from slowfast_atfr.packed.convert import to_dense
from slowfast_atfr.packed.dispatch import HANDLERS, name_of, refusal
from slowfast_atfr.packed.gather_scatter import spread
from slowfast_atfr.packed.layout import Layout
from slowfast_atfr.packed.ragged import RaggedLength
from slowfast_atfr.utils.upload import upload

NAMES = """
    relu relu_ relu6 hardtanh hardtanh_ silu hardswish hardsigmoid leaky_relu leaky_relu_ elu elu_ selu selu_ celu
    celu_ gelu mish softplus softsign logsigmoid sigmoid sigmoid_ tanh tanh_ threshold threshold_ softshrink
    hardshrink tanhshrink rrelu
    add add_ sub sub_ subtract subtract_ rsub mul mul_ multiply multiply_ div div_ divide divide_ true_divide
    true_divide_ __rtruediv__ __rfloordiv__ __rpow__ floor_divide remainder fmod neg negative pow pow_ float_power
    square square_ sqrt sqrt_ rsqrt reciprocal exp exp_ exp2 expm1 log log2 log10 log1p abs abs_ absolute sign sin
    cos atan2 erf floor ceil round trunc nan_to_num clamp clamp_ clip clip_ clamp_min clamp_max maximum minimum
    tan asin acos atan sinh cosh asinh acosh atanh arctan frac sgn signbit sinc erfc erfinv lgamma digamma logit logit_
    xlogy hypot heaviside fmax fmin copysign logaddexp logaddexp2 deg2rad rad2deg positive expit log_ndtr nextafter
    ldexp exp2_ expm1_ log_ log1p_ reciprocal_ rsqrt_ sin_ cos_ floor_ ceil_ round_ remainder_ logical_not_ nan_to_num_
    clamp_min_ clamp_max_ i0 ndtr isposinf isneginf greater_ bitwise_left_shift
    where lerp lerp_ addcmul addcmul_ addcdiv addcdiv_ masked_fill masked_fill_ fill_ zero_ copy_
    eq ne lt le gt ge not_equal less less_equal greater greater_equal isnan isinf isfinite isclose logical_and
    logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_not
    dropout alpha_dropout bernoulli expand_as clone detach to type_as float double half bfloat16 int long bool cpu
    cuda requires_grad_ zeros_like ones_like empty_like full_like rand_like randn_like
"""


def elementwise(function: Callable, *args: Any, **kwargs: Any) -> PackedClips:
    """Run an elementwise torch function with at least one packed argument."""
    x = args[0] if args else None
    if len(args) == 1 and isinstance(x, PackedClips) and not kwargs.keys() - {"inplace", "training", "p"}:
        return x.with_joined(function(x.joined, **kwargs))  # the activations, without the search for operands
    packed = [value for value in (*args, *kwargs.values()) if isinstance(value, PackedClips)]
    x = max(packed, key=lambda clips: max(clips.lengths))
    if any(other.lengths != x.lengths and not _is_one_frame(other) for other in packed):
        raise refusal(name_of(function), f"got clips of {all_lengths(packed)} frames", UNEQUAL)
    if "out" in kwargs or (function.__name__.endswith("_") and isinstance(args[0], Tensor)):
        raise refusal(name_of(function), "cannot write packed clips into a dense tensor", "Use its out-of-place form")
    in_place = function.__name__.endswith("_") and not function.__name__.endswith("__")
    if in_place and args[0].lengths != x.lengths:
        raise refusal(name_of(function), f"cannot write {x.lengths} frames into clips of {args[0].lengths}", UNEQUAL)
    whole = [clips for clips in packed if clips.lengths == x.lengths]
    x = args[0] if in_place else whole[0]
    operand = functools.partial(_operand, function, x)
    result = x.with_joined(function(*map(operand, args), **{name: operand(value) for name, value in kwargs.items()}))
    if len(whole) > 1 and any(clips.layout.sizes != x.layout.sizes for clips in whole):
        result.__dict__["layout"] = _common_layout(whole)
    return result


def _common_layout(clips: Sequence[PackedClips]) -> Layout:
    """The layout of operands with sizes; without sizes where they disagree."""
    known = {x.layout.sizes: x.layout for x in clips if x.layout.sizes is not None}
    return next(iter(known.values())) if len(known) == 1 else Layout(clips[0].lengths, clips[0].round_to)


def _operand(function: Callable, x: PackedClips, value: Any) -> Any:
    """An argument as it is passed to torch's function of (1, C, S, H, W)."""
    if isinstance(value, PackedClips) and value.lengths == x.lengths:
        return value.joined
    if isinstance(value, PackedClips):
        value = to_dense(value)
    if isinstance(value, RaggedLength):
        value = of_each_clip(value, x)
    if not isinstance(value, Tensor):
        return value
    shape = (1,) * (5 - value.ndim) + tuple(value.shape)
    if len(shape) == 5 and shape[2] == 1 and shape[0] == 1:
        return value
    if len(shape) == 5 and shape[2] == 1 and shape[0] == len(x):
        return spread(value.permute(0, 2, 3, 4, 1).squeeze(1), x.layout).unsqueeze(0).permute(0, 4, 1, 2, 3)
    raise refusal(
        name_of(function),
        f"got a dense tensor of shape {tuple(value.shape)} together with {len(x)} packed clips of {x.lengths} frames",
        f"Dense operands may have one entry per clip, ({len(x)}, C, 1, 1, 1), or broadcast over clips and frames; "
        "slowfast_atfr.packed.pack_dense packs a dense batch; for a skip that begins before SGS, put SGS before it "
        "branches off",
    )


def of_each_clip(numbers: RaggedLength, x: PackedClips) -> Tensor:
    """T of clips, or what was computed from it, as a tensor (N, 1, 1, 1, 1) of x's type."""
    (column,) = x.layout.keep(
        ("numbers", numbers.lengths, x.device),
        lambda: upload([np.array(numbers.lengths, dtype=np.float64)], x.device),
    )
    return column.to(x.dtype).view(-1, 1, 1, 1, 1)


def _is_one_frame(x: PackedClips) -> bool:
    return max(x.lengths) == 1


def all_lengths(packed: Sequence[PackedClips]) -> str:
    return " and ".join(str(lengths) for lengths in dict.fromkeys(clips.lengths for clips in packed))


UNEQUAL = (
    "pad_lengths(x, lengths) makes lengths equal; if one is from before SGS, or from another pathway, put SGS before "
    "both or after their fusion"
)

for _name in NAMES.split():
    for _home in (torch, Tensor, F, torch.special):
        _function = getattr(_home, _name, None)
        if callable(_function):  # torch.float is a dtype, torch.cuda a module
            HANDLERS[_function] = functools.partial(elementwise, _function)
