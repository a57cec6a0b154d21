"""Count the multiply-adds of each clip of a batch, from its length in every layer.

GFLOPs are multiply-adds x 1e-9 of one clip, as usual in the field: of convolutions, linear layers and the matrix
products of attention. Counting uses hooks on an ordinary forward pass and only reads shapes: it traces nothing and
never waits for the device.

The counter looks at the `scopes` of a network. Residual blocks and attention of ours, and layers of torch.nn with a
weight matrix, are counted by the shapes of their inputs and outputs. Only of modules that are neither torch's nor ours
does it see the torch functions that they call.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrize import is_parametrized
from torch.utils import _pytree as pytree

from slowfast_atfr.analysis.mac_counter import MacCounter
from slowfast_atfr.analysis.mac_rules import LAYERS
from slowfast_atfr.models.convolution import FramesConv3d, TemporalConv3d
from slowfast_atfr.models.resnet import ResBlock
from slowfast_atfr.models.transforms import SqueezeExcitation
from slowfast_atfr.packed import PackedClips, lengths_of
from slowfast_atfr.sgs import TemporalSampler
from slowfast_atfr.sgs.pathways import PathwaySGS
from slowfast_atfr.sgs.record import observed

KNOWN = ("torch.nn.", "slowfast_atfr.")  # whose modules leave products to their layers, or have `product_macs`


def has_stages(model: nn.Module) -> bool:
    """Whether a network has compiled stages."""
    return getattr(model, "compiled", None) is not None


def scopes(model: nn.Module) -> list[nn.Module]:
    """Return the modules to count, outside of SGS layers and compiled stages; the cost of each excludes the others'."""
    if isinstance(model, (TemporalSampler, PathwaySGS)):
        return []
    if not type(model).__module__.startswith(KNOWN) or _has_matrix(model) or _is_plain_block(model):
        return [model]
    compiled = () if isinstance(model, ResBlock) else getattr(model, "compiled", None) or ()
    visible = (child for name, child in model.named_children() if name not in compiled)
    found = dict.fromkeys(scope for child in visible for scope in scopes(child))
    return [*found, *([model] if hasattr(model, "product_macs") else [])]


def _has_matrix(layer: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in layer.parameters(recurse=False)) or is_parametrized(layer)


def _is_plain_block(model: nn.Module) -> bool:
    """Whether it is a residual block whose only matrices are those of 3-D convolutions."""
    kinds = (nn.Conv3d, FramesConv3d, TemporalConv3d)
    return isinstance(model, ResBlock) and all(type(layer) in kinds for layer in model.modules() if _has_matrix(layer))


@contextmanager
def count_macs(model: nn.Module) -> Iterator[MacCounter]:
    """Count while the model runs inside the block.

    >>> with count_macs(model) as counter:                           # doctest: +SKIP
    ...     model(inputs)
    ...     per_clip = counter.read_and_reset()

    Raises:
        TypeError: if a module with matrices is TorchScript, which cannot be counted.
    """
    counter, layers = MacCounter(), dict(model.named_modules())
    for name, layer in layers.items():
        if isinstance(layer, torch.jit.ScriptModule) and any(parameter.ndim > 1 for parameter in layer.parameters()):
            what = name or type(model).__name__
            raise TypeError(f"{what} is TorchScript, which cannot be counted; count the network that it was made from")
    samplers = [layer for layer in layers.values() if isinstance(layer, (TemporalSampler, PathwaySGS))]
    with ExitStack() as stack:
        stack.callback(counter.close)
        begin = model.register_forward_pre_hook(lambda _, *inputs: counter.begin(_num_clips(inputs)), with_kwargs=True)
        stack.callback(begin.remove)
        for scope in scopes(model):
            if isinstance(scope, ResBlock):
                stack.callback(scope.register_forward_hook(partial(_see_block, counter)).remove)
            elif hasattr(scope, "product_macs"):
                stack.callback(scope.register_forward_hook(partial(_see_products, counter)).remove)
            elif type(scope) in LAYERS:
                see = partial(_see_layer, counter)
                stack.callback(scope.register_forward_hook(see, with_kwargs=True).remove)
            else:
                _around(scope, counter.listen, counter.stop, stack)
        for sampler in samplers:  # counted by their input frames, below
            _around(sampler, lambda: setattr(counter, "paused", True), lambda: setattr(counter, "paused", False), stack)
        stages = (layer.compiled for layer in layers.values() if not isinstance(layer, ResBlock) and has_stages(layer))
        for compiled in stages:
            count = partial(_see_compiled, counter, {})
            compiled.observers.append(count)
            stack.callback(compiled.observers.remove, count)
        see = observed(model, lambda name, seen: counter.add(1, sgs_macs(layers[name], seen.measured.blocks)))
        stack.enter_context(see)
        stack.callback(model.register_forward_hook(lambda *_: counter.end()).remove)  # the last hook
        yield counter


def _see_compiled(counter: MacCounter, known: dict[tuple, float], stage: nn.Module, pathways: list[Tensor]) -> None:
    """Count a compiled stage on the meta device, once for each shape of its dense inputs."""
    key = stage, *(clips.shape for clips in pathways)
    if key not in known:
        known[key] = clip_macs(_OnMeta(stage), [torch.empty(*clips.shape, device="meta") for clips in pathways]).sum()
    counter.add(known[key])


class _OnMeta(nn.Module):
    """Runs a module with weights on the meta device."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any) -> Any:
        tensors = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        shapes = {name: torch.empty_like(value, device="meta") for name, value in tensors.items()}
        return functional_call(self.module, shapes, inputs)


def _see_block(counter: MacCounter, block: ResBlock, args: tuple, _: Any) -> None:
    """Count a residual block, whose convolutions keep the number of frames, by the size of its input."""
    (x,) = args
    branch, shortcut = block.branch2._modules.values(), [block._modules.get("branch1")]
    per_frame = sum(_macs_of_frames(layers, x.shape[3:]) for layers in (branch, shortcut))
    counter.add(per_frame, lengths_of(x))
    gates = [layer for layer in branch if isinstance(layer, SqueezeExcitation)]  # of one frame a clip
    counter.add(len(x) * sum(gate.fc1.weight.numel() + gate.fc2.weight.numel() for gate in gates))


def _see_products(counter: MacCounter, layer: nn.Module, args: tuple, _: Any) -> None:
    (x,) = args
    counter.add(1, tuple(layer.product_macs(length, *x.shape[3:]) for length in lengths_of(x)))


def _macs_of_frames(layers: Iterable[nn.Module | None], size: Sequence[int]) -> float:
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


def _see_layer(counter: MacCounter, layer: nn.Module, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
    counter.add(*LAYERS[type(layer)](out, (*args, *kwargs.values())[0], layer.weight))


def _around(module: nn.Module, before: Callable[[], None], after: Callable[[], None], stack: ExitStack) -> None:
    """Call these before and after each forward of a module, even one that raises, until the stack is closed."""
    stack.callback(module.register_forward_pre_hook(lambda *_: before()).remove)
    stack.callback(module.register_forward_hook(lambda *_: after(), always_call=True).remove)


def clip_macs(model: nn.Module, inputs: Any) -> np.ndarray:
    """Return the multiply-adds of each clip, from one forward in evaluation mode; the mode of each module is restored.

    Args:
        model: any network; SGS and packed clips may be part of it.
        inputs: of the model, such as (N, 3, T, H, W), packed clips, or a list with one of these for each pathway.
    Returns:
        (N,).
    """
    training = [module for module in model.modules() if module.training]  # the others may be frozen
    model.eval()
    try:
        with torch.no_grad(), count_macs(model) as counter:
            model(inputs)
            return counter.read_and_reset()
    finally:
        for module in training:
            module.training = True


def _num_clips(inputs: Any) -> int:
    for value in pytree.tree_iter(inputs, is_leaf=lambda value: isinstance(value, PackedClips)):
        if isinstance(value, (Tensor, PackedClips)):
            return len(value)
    raise TypeError("the network was called with no tensor, so its clips cannot be counted")


def sgs_macs(sampler: TemporalSampler, clips: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """Return the multiply-adds of SGS for clips, given the lengths of the blocks of each."""
    return tuple(float(sampler.macs(blocks)) for blocks in clips)
