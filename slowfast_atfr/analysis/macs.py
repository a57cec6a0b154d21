"""Multiply-adds of each clip of a batch, from the lengths that its frames really have in every layer.

GFLOPs are multiply-adds x 1e-9 of one clip, as the field counts them: those of convolutions, linear layers and the
matrix products of attention. Counting hangs on a forward that happens anyway and looks at shapes only: it traces
nothing and never waits for the device.

A counter sees the torch functions that are called while one of the `scopes` of a network runs: any layer of torch.nn
that has a weight matrix, any attention of ours; and all of a module that neither torch nor this package has written,
since it may call whatever it likes.
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
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils.flop_counter import FlopCounterMode

from slowfast_atfr.analysis.mac_rules import BY_DISPATCH, LAYERS, RULES
from slowfast_atfr.models.attention import TemporalAttention
from slowfast_atfr.models.convolution import FramesConv3d
from slowfast_atfr.models.nonlocal_block import Nonlocal
from slowfast_atfr.models.resnet import ResBlock
from slowfast_atfr.packed import PackedClips, per_length
from slowfast_atfr.sgs import TemporalSampler
from slowfast_atfr.sgs.pathways import PathwaySGS
from slowfast_atfr.sgs.record import observed

OWN_PRODUCTS = (Nonlocal, TemporalAttention)  # modules of ours that multiply matrices by themselves
KNOWN = ("torch.nn.", "slowfast_atfr.")  # whose other modules leave that to the layers inside them


class MacCounter(TorchFunctionMode):
    """Sums up a forward's multiply-adds, clip by clip.

    It is told of them by `add`, and while it is entered it hears which torch functions are called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.paused, self._depth = False, 0
        self.lengths: tuple[int, ...] | None = None  # of the clips in a block that runs on plain frames
        self._begun, self._running = False, False
        self._num_clips = 0
        self._clips: tuple[int, ...] | None = None  # of the batch, those that dense tensors hold; None: all
        self._of_some: dict[tuple[int, ...] | None, float] = {}  # such clips -> multiply-adds of them together
        self._of_lengths: dict[tuple[int, ...], float] = {}  # lengths of packed clips -> multiply-adds of one frame

    def listen(self) -> None:
        """Enter, unless it is entered: a module may call itself."""
        self._depth += 1
        if self._depth == 1:
            self.__enter__()

    def stop(self) -> None:
        """Leave where the first `listen` has entered; nothing, where it has not been called."""
        if self._depth:
            self._depth -= 1
            if self._depth == 0:
                self.__exit__(None, None, None)

    def close(self) -> None:
        """Leave, if it is still entered: an interrupt passes by the hooks of modules."""
        self._depth = min(self._depth, 1)
        self.stop()

    def begin(self, num_clips: int) -> None:
        """Forget what has been added: a new forward begins."""
        self._begun, self._running, self._num_clips = True, True, num_clips
        self._of_some, self._of_lengths = {}, {}

    def end(self) -> None:
        """The forward has ended: what runs again for the backward, as with activation checkpointing, is not counted."""
        self._running = False

    def add(self, macs: float, lengths: tuple[int, ...] | None = None) -> None:
        """Add the multiply-adds of each frame of clips of these lengths, or those of all clips in dense tensors.

        Of what does not go by frames, the lengths may be multiply-adds of each clip, once.
        Clips in a dense tensor are of one length, so they share. Sums are kept as few numbers until they are taken.
        """
        if not self._running:
            return
        where, key = (self._of_some, self._clips) if lengths is None else (self._of_lengths, lengths)
        where[key] = where.get(key, 0.0) + macs

    def take(self) -> np.ndarray:
        """(N,) multiply-adds of each clip in the last forward."""
        if not self._begun:
            raise RuntimeError("no forward has run since the last take()")
        self._begun = False
        return self.so_far()

    def so_far(self) -> np.ndarray:
        """(N,) multiply-adds of each clip since the forward has begun."""
        total = np.zeros(self._num_clips)
        for clips, macs in self._of_some.items():
            indices = range(self._num_clips) if clips is None else clips
            total[list(indices)] += macs / len(indices)
        for lengths, macs in self._of_lengths.items():
            total += macs * np.asarray(lengths)
        return total

    def __torch_function__(
        self, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.paused:
            return func(*args, **kwargs)
        if func is per_length:
            return self._per_length(*args, **kwargs)
        if func in BY_DISPATCH:
            with FlopCounterMode(display=False) as counter:
                out = func(*args, **kwargs)
            self.add(counter.get_total_flops() / 2)
            return out
        out = func(*args, **kwargs)
        if func in RULES:
            self.see(out, *RULES[func](out, *args, **kwargs))
        return out

    def see(self, out: Any, macs: float, lengths: tuple[int, ...] | None = None) -> None:
        """Add what a function has cost; of frames, (S, C, H, W), each clip its own."""
        if lengths is None and self.lengths is not None and isinstance(out, Tensor) and out.ndim == 4:
            macs, lengths = macs / len(out), self.lengths
        self.add(macs, lengths)

    def _per_length(self, x: PackedClips, fn: Callable[..., Tensor], *others: PackedClips) -> Any:
        """What runs on the clips of one length is counted for those alone."""
        everybody, lengths_of_clips = self._clips, list(zip(*(packed.lengths for packed in (x, *others)), strict=True))

        def counted(*dense: Tensor) -> Tensor:
            lengths = tuple(clips.shape[2] for clips in dense)
            self._clips = tuple(index for index, own in enumerate(lengths_of_clips) if own == lengths)
            try:
                with self:
                    return fn(*dense)
            finally:
                self._clips = everybody

        return per_length(x, counted, *others)


def has_stages(model: nn.Module) -> bool:
    """Whether stages of a network are compiled."""
    return getattr(model, "compiled", None) is not None


def scopes(model: nn.Module) -> list[nn.Module]:
    """The modules in which a counter listens; none of them lies within another, an SGS layer or a compiled stage."""
    if isinstance(model, (TemporalSampler, PathwaySGS)):
        return []
    known = type(model).__module__.startswith(KNOWN) and not isinstance(model, OWN_PRODUCTS)
    has_matrix = any(parameter.ndim > 1 for parameter in model.parameters(recurse=False)) or is_parametrized(model)
    if not known or has_matrix:
        return [model]
    compiled = getattr(model, "compiled", None)
    if isinstance(model, ResBlock) and compiled is not None:  # `_enter_block` counts what of it may be compiled
        layers = (layer for layer in model.modules() if isinstance(layer, nn.Conv3d))
        return [layer for layer in layers if not isinstance(layer, FramesConv3d)]
    open_to_us = (child for name, child in model.named_children() if name not in (compiled or ()))
    return list(dict.fromkeys(scope for child in open_to_us for scope in scopes(child)))


def blocks_in_sight(model: nn.Module) -> list[ResBlock]:
    """Residual blocks outside of compiled stages, which would run as they are if one of their blocks had a hook."""
    if isinstance(model, ResBlock):
        return [model]
    compiled = getattr(model, "compiled", None) or ()
    open_to_us = (child for name, child in model.named_children() if name not in compiled)
    return list(dict.fromkeys(block for child in open_to_us for block in blocks_in_sight(child)))


@contextmanager
def count_macs(model: nn.Module) -> Iterator[MacCounter]:
    """Count while the model runs.

    >>> with count_macs(model) as counter:                           # doctest: +SKIP
    ...     model(inputs)
    ...     per_clip = counter.take()

    Raises:
        TypeError: if a module with matrices is TorchScript, which would count as nothing.
    """
    counter, layers = MacCounter(), dict(model.named_modules())
    for name, layer in layers.items():
        if isinstance(layer, torch.jit.ScriptModule) and any(parameter.ndim > 1 for parameter in layer.parameters()):
            what = name or type(model).__name__
            raise TypeError(f"{what} is TorchScript, whose functions nobody hears; count the network it is made from")
    samplers = [layer for layer in layers.values() if isinstance(layer, (TemporalSampler, PathwaySGS))]
    with ExitStack() as stack:
        stack.callback(counter.close)
        begin = model.register_forward_pre_hook(lambda _, *inputs: counter.begin(_num_clips(inputs)), with_kwargs=True)
        stack.callback(begin.remove)
        for scope in scopes(model):
            if type(scope) in LAYERS:
                see = partial(_see_layer, counter)
                see.takes_frames = True
                stack.callback(scope.register_forward_hook(see, with_kwargs=True).remove)
            else:
                _around(scope, counter.listen, counter.stop, stack)
        for block in blocks_in_sight(model):
            stack.callback(block.register_forward_pre_hook(partial(_enter_block, counter)).remove)
            stack.callback(block.register_forward_hook(partial(_leave_block, counter), always_call=True).remove)
        for sampler in samplers:  # these count by the frames that come in
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
    """Count a stage inside which nobody can listen: on the meta device, once for each shape of its dense inputs."""
    key = stage, *(clips.shape for clips in pathways)
    if key not in known:
        known[key] = clip_macs(_OnMeta(stage), [torch.empty(*clips.shape, device="meta") for clips in pathways]).sum()
    counter.add(known[key])


class _OnMeta(nn.Module):
    """Runs a module with weights that are shapes only."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any) -> Any:
        tensors = {**dict(self.module.named_parameters()), **dict(self.module.named_buffers())}
        shapes = {name: torch.empty_like(value, device="meta") for name, value in tensors.items()}
        return functional_call(self.module, shapes, inputs)


def _enter_block(counter: MacCounter, block: ResBlock, args: tuple) -> None:
    (x,) = args
    counter.lengths = x.lengths if isinstance(x, PackedClips) else None
    if block.compiled is not None:
        branch, shortcut = block.branch2._modules.values(), [block._modules.get("branch1")]
        macs = sum(_macs_of_frames(layers, x.shape[3:]) for layers in (branch, shortcut))
        counter.add(macs if counter.lengths else macs * x.shape[0] * x.shape[2], counter.lengths)


def _macs_of_frames(layers: Iterable[nn.Module | None], size: Sequence[int]) -> float:
    """Multiply-adds that convolutions of frames in a row take for a frame of this height and width."""
    macs = 0
    for layer in layers:
        if isinstance(layer, nn.Conv3d):
            sizes = size, layer.kernel_size[1:], layer.stride[1:], layer.padding[1:], layer.dilation[1:]
            size = [
                (side + 2 * pad - apart * (kernel - 1) - 1) // step + 1
                for side, kernel, step, pad, apart in zip(*sizes, strict=True)
            ]
            macs += math.prod(size) * layer.weight.numel() * isinstance(layer, FramesConv3d)
    return macs


def _leave_block(counter: MacCounter, *_: Any) -> None:
    counter.lengths = None


def _see_layer(counter: MacCounter, layer: nn.Module, args: tuple, kwargs: dict[str, Any], out: Any) -> None:
    counter.see(out, *LAYERS[type(layer)](out, (*args, *kwargs.values())[0], layer.weight))


def _around(module: nn.Module, before: Callable[[], None], after: Callable[[], None], stack: ExitStack) -> None:
    """Call these before and after each forward of a module, one that raises included, until the stack is unwound."""
    stack.callback(module.register_forward_pre_hook(lambda *_: before()).remove)
    stack.callback(module.register_forward_hook(lambda *_: after(), always_call=True).remove)


def clip_macs(model: nn.Module, inputs: Any) -> np.ndarray:
    """Multiply-adds of each clip, from one forward in evaluation mode; each module's mode is left as it was.

    Args:
        model: any network; SGS and packed clips may be part of it.
        inputs: what it takes, such as (N, 3, T, H, W), packed clips, or a list of one of them for each pathway.
    Returns:
        (N,).
    """
    training = [module for module in model.modules() if module.training]  # others may be frozen
    model.eval()
    try:
        with torch.no_grad(), count_macs(model) as counter:
            model(inputs)
            return counter.take()
    finally:
        for module in training:
            module.training = True


def _num_clips(inputs: Any) -> int:
    for value in pytree.tree_iter(inputs, is_leaf=lambda value: isinstance(value, PackedClips)):
        if isinstance(value, (Tensor, PackedClips)):
            return len(value)
    raise TypeError("the network was called with no tensor, so its clips cannot be counted")


def sgs_macs(sampler: TemporalSampler, clips: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """Multiply-adds with which SGS measures clips, given the lengths of the blocks of each."""
    return tuple(float(sampler.macs(blocks)) for blocks in clips)
