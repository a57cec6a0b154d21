"""Count the multiply-adds of each clip of a batch, from its length in every layer.

GFLOPs are multiply-adds x 1e-9 of one clip, as usual in the field: of convolutions, linear layers and the matrix
products of attention. Counting uses hooks on an ordinary forward pass and only reads shapes: it traces nothing and
never waits for the device.

The counter looks at the `scopes` of a network. Residual blocks and attention of ours, and layers of torch.nn with a
weight matrix, are counted by the shapes of their inputs and outputs, as long as they are as they were built. A block
that was changed is counted layer by layer. Of modules that are neither torch's nor ours, and of attention and layers
that were changed or have hooks, it sees the torch functions that they call.
"""

from collections.abc import Callable, Iterator, Sequence
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
from slowfast_atfr.analysis.mac_shapes import ATTENTION, is_unchanged, rule_of
from slowfast_atfr.models.resnet import ResBlock
from slowfast_atfr.packed import PackedClips
from slowfast_atfr.sgs import TemporalSampler
from slowfast_atfr.sgs.pathways import PathwaySGS
from slowfast_atfr.sgs.record import observed

KNOWN = ("torch.nn.", "slowfast_atfr.")  # whose modules leave products to their layers, unless mac_shapes names them


def has_stages(model: nn.Module) -> bool:
    """Whether a network has compiled stages."""
    return getattr(model, "compiled", None) is not None


def scopes(model: nn.Module) -> list[nn.Module]:
    """Return the modules to count, outside of SGS layers and compiled stages; the cost of each excludes the others'."""
    if isinstance(model, (TemporalSampler, PathwaySGS)):
        return []
    known = type(model).__module__.startswith(KNOWN) and not _has_matrix(model)
    is_block, is_attention = type(model) is ResBlock, type(model) in ATTENTION
    if not known or (is_block and rule_of(model)) or (is_attention and not rule_of(model)):
        return [model]
    compiled = () if is_block else getattr(model, "compiled", None) or ()
    visible = (child for name, child in model.named_children() if name not in compiled)
    found = dict.fromkeys(scope for child in visible for scope in scopes(child))
    return [*found, *([model] if is_attention else [])]  # for its products, besides its layers


def _has_matrix(layer: nn.Module) -> bool:
    return any(parameter.ndim > 1 for parameter in layer.parameters(recurse=False)) or is_parametrized(layer)


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
    counted = [(scope, _rule_of(scope)) for scope in scopes(model)]  # before there are hooks of this counter
    with ExitStack() as stack:
        stack.callback(counter.close)
        begin = model.register_forward_pre_hook(lambda _, *inputs: counter.begin(_num_clips(inputs)), with_kwargs=True)
        stack.callback(begin.remove)
        for scope, see in counted:
            if see is None:
                _around(scope, counter.listen, counter.stop, stack)
            else:
                stack.callback(scope.register_forward_hook(partial(see, counter), with_kwargs=True).remove)
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


def _rule_of(scope: nn.Module) -> Callable[..., None] | None:
    """Return the function that counts a module in a forward hook; None if its torch functions must be seen."""
    return _see_layer if type(scope) in LAYERS and is_unchanged(scope) else rule_of(scope)


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
