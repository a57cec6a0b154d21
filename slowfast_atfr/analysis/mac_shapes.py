"""Multiply-adds of residual blocks and attention of ours, from the size of their input alone.

This holds for the layers that they are built with. A subclass may run anything, and layers that were exchanged, added
or given hooks may cost something else: such blocks have no rule here.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import nn

from slowfast_atfr.analysis.mac_counter import MacCounter
from slowfast_atfr.models.attention import TemporalAttention, TemporalGate
from slowfast_atfr.models.convolution import FramesConv3d, TemporalConv3d
from slowfast_atfr.models.nonlocal_block import ATTENTIONS, Nonlocal, pool_of
from slowfast_atfr.models.norm import CountedBatchNorm, FramesBatchNorm3d
from slowfast_atfr.models.resnet import ResBlock, has_hooks
from slowfast_atfr.models.transforms import TRANSFORMS, SqueezeExcitation, Swish
from slowfast_atfr.packed import lengths_of

ATTENTION = (Nonlocal, TemporalAttention, TemporalGate)
CONVOLUTIONS = (nn.Conv3d, FramesConv3d, TemporalConv3d)
FREE = (nn.BatchNorm3d, FramesBatchNorm3d, CountedBatchNorm, nn.ReLU, nn.SiLU, Swish, nn.Identity)  # keep sizes


def rule_of(module: nn.Module) -> Callable[..., None] | None:
    """Return the function that counts a block or attention of ours in a forward hook; None if it has no rule."""
    if "forward" in vars(module) or module._parameters:
        return None
    if type(module) is ResBlock and _is_plain_block(module):
        return _see_block
    return _see_products if type(module) in ATTENTION and _is_plain_attention(module) else None


def is_unchanged(layer: nn.Module) -> bool:
    """Whether a layer has neither hooks nor a `forward` of its own, other than its type's."""
    return not has_hooks(layer) and "forward" not in vars(layer)


def _see_block(counter: MacCounter, block: ResBlock, args: tuple, kwargs: dict[str, Any], _: Any) -> None:
    (x,) = (*args, *kwargs.values())
    counter.add(sum(_macs_of_frames(layers, x.shape[3:]) for layers in _chains(block)), lengths_of(x))
    gates = [layer for layer in _chains(block)[0] if isinstance(layer, SqueezeExcitation)]  # of one frame a clip
    counter.add(len(x) * sum(gate.fc1.weight.numel() + gate.fc2.weight.numel() for gate in gates))


def _see_products(counter: MacCounter, layer: nn.Module, args: tuple, kwargs: dict[str, Any], _: Any) -> None:
    (x,) = (*args, *kwargs.values())
    counter.add(1, tuple(layer.product_macs(length, *x.shape[3:]) for length in lengths_of(x)))


def _chains(block: ResBlock) -> tuple[tuple[nn.Module, ...], ...]:
    """The layers with products, in the order of the branch, and of the shortcut."""
    return tuple(block.branch2), tuple(layer for name, layer in block._modules.items() if name == "branch1")


def _macs_of_frames(layers: Iterable[nn.Module], size: Sequence[int]) -> float:
    """Return the multiply-adds of a chain of convolutions for a frame of this (height, width)."""
    macs = 0
    for layer in layers:
        if isinstance(layer, nn.Conv3d):
            sizes = size, layer.kernel_size[1:], layer.stride[1:], layer.padding[1:], layer.dilation[1:]
            size = [
                (side + 2 * pad - apart * (kernel - 1) - 1) // step + 1
                for side, kernel, step, pad, apart in zip(*sizes, strict=True)
            ]
            macs += math.prod(size) * layer.weight.numel()
    return macs


def _is_plain_block(block: ResBlock) -> bool:
    branch = block.branch2
    if type(branch) not in TRANSFORMS.values() or not is_unchanged(branch):
        return False
    with_products = {layer for chain in _chains(block) for layer in chain}
    layers = {*block.children(), *branch.children()} - {branch}
    return all(_is_free(layer) or layer in with_products and _keeps_frames(layer) for layer in layers)


def _keeps_frames(layer: nn.Module) -> bool:
    if type(layer) is SqueezeExcitation:
        return is_unchanged(layer) and _keeps(layer.fc1, (0, 1, 2)) and _keeps(layer.fc2, (0, 1, 2))
    return _keeps(layer, (0,))


def _is_plain_attention(layer: nn.Module) -> bool:
    parts = dict(layer.named_children())
    if isinstance(layer, Nonlocal):
        pool = parts.pop("pool")
        as_built = repr(pool) == repr(pool_of((layer.pool_frames, *layer.pool_sides))) and is_unchanged(pool)
        if layer.attention not in ATTENTIONS.values() or not as_built:
            return False
    return all(_keeps(part, (0, 1, 2)) if "conv" in name else _is_free(part) for name, part in parts.items())


def _is_free(layer: nn.Module) -> bool:
    return type(layer) in FREE and is_unchanged(layer)


def _keeps(layer: nn.Module, dims: Sequence[int]) -> bool:
    """Whether a layer is a convolution that keeps the sizes of these dimensions of (T, H, W)."""
    if type(layer) not in CONVOLUTIONS or isinstance(layer.padding, str) or not is_unchanged(layer):
        return False
    reach = (apart * (kernel - 1) for apart, kernel in zip(layer.dilation, layer.kernel_size, strict=True))
    kept = [step == 1 and 2 * pad == size for step, pad, size in zip(layer.stride, layer.padding, reach, strict=True)]
    return all(kept[dim] for dim in dims)
