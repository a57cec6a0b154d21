"""Multiply-adds of each clip of a batch, from the lengths that its frames really have in every layer.

Counted are convolutions and linear layers, as the field does: GFLOPs are multiply-adds x 1e-9 of one clip. Counting
hangs on the forward that happens anyway (forward hooks, shapes only): it never waits for the device.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slowfast_atfr.packed import lengths_of
from slowfast_atfr.packed.channels_last import ChannelsLast
from slowfast_atfr.sgs import SGS
from slowfast_atfr.sgs.record import observed


class MacCounter:
    """Sums up a forward's multiply-adds, clip by clip."""

    def __init__(self) -> None:
        self._total: np.ndarray | None = None

    def reset(self) -> None:
        """Forget what has been added: a new forward begins."""
        self._total = None

    def add(self, macs: np.ndarray) -> None:
        """Add a layer's (N,) multiply-adds."""
        self._total = macs if self._total is None else self._total + macs

    def take(self) -> np.ndarray:
        """(N,) multiply-adds of each clip in the last forward."""
        if self._total is None:
            raise RuntimeError("no forward has run since the last take()")
        total, self._total = self._total, None
        return total


@contextmanager
def count_macs(model: nn.Module) -> Iterator[MacCounter]:
    """Count while the model runs.

    >>> with count_macs(model) as counter:                           # doctest: +SKIP
    ...     model(inputs)
    ...     per_clip = counter.take()
    """
    counter = MacCounter()
    inside_sgs = {child for module in model.modules() if isinstance(module, SGS) for child in module.modules()}
    layers = dict(model.named_modules())
    handles = [model.register_forward_pre_hook(lambda *_: counter.reset())]
    for module in model.modules():
        if module not in inside_sgs and isinstance(module, nn.Conv3d):
            handles.append(module.register_forward_hook(lambda m, _, out: counter.add(_conv_macs(m, out))))
        elif module not in inside_sgs and isinstance(module, nn.Linear):
            handles.append(module.register_forward_hook(lambda m, _, out: counter.add(_linear_macs(m, out))))
    try:
        with observed(model, lambda name, seen: counter.add(_sgs_macs(layers[name], seen.measured.lengths))):
            yield counter
    finally:
        for handle in handles:
            handle.remove()


def clip_macs(model: nn.Module, inputs: list[Tensor]) -> np.ndarray:
    """(N,) multiply-adds of each clip, from one forward in evaluation mode; the model's mode is left as it was."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), count_macs(model) as counter:
            model(inputs)
            return counter.take()
    finally:
        model.train(was_training)


def _conv_macs(module: nn.Conv3d | nn.Linear, out: Any) -> np.ndarray:
    """Every output position costs one pass over the weights (C' x C/groups x kernel)."""
    height, width = out.shape[3:5]
    return np.asarray(lengths_of(out), dtype=np.int64) * (height * width * module.weight.numel())


def _linear_macs(module: nn.Linear, out: Tensor | ChannelsLast) -> np.ndarray:
    """Rows of one clip times the weights; the first dimension is the batch."""
    if isinstance(out, ChannelsLast):
        return _conv_macs(module, out.clips)
    rows = out.numel() // (out.shape[0] * out.shape[-1])
    return np.full(out.shape[0], rows * module.weight.numel(), dtype=np.int64)


def _sgs_macs(module: SGS, lengths: tuple[int, ...]) -> np.ndarray:
    """The embedding of each frame that comes in."""
    weights = module.embed.fc1.weight.numel() + module.embed.fc2.weight.numel()
    return np.asarray(lengths, dtype=np.int64) * weights
