"""Precise batch norm: running statistics as the true mean and variance over many batches (Wu & Johnson, 2021).

fvcore's version takes plain tensors and weighs all batches equally; packed clips have different numbers of frames.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast_atfr.models.norm import channel_moments
from slowfast_atfr.packed import PackedClips, to_frames
from slowfast_atfr.utils.distributed import all_reduce_sum
from slowfast_atfr.utils.upload import to_device


@torch.no_grad()
def update_precise_bn(model: nn.Module, batches: Iterable[Any], num_batches: int) -> None:
    """Set the running mean and variance of every batch norm to those of its inputs over `num_batches` batches.

    Every value of a channel has the same weight, over clips, batches, processes and repeated calls of a norm. The
    forward passes run in training mode; modes and momentum are restored. Running thresholds of segments are updated as
    in training. Norms in eval mode within a model in training mode, and norms that no batch reaches, do not change. A
    collective: every process must bring the same number of batches.

    Args:
        model: called as `model(batch)`.
        batches: prepared inputs, on the model's device.
        num_batches: at most, on each process.
    Raises:
        FloatingPointError: if the input of a norm is not finite; names the first such norm.
        ValueError: if there is no batch.
    """
    modes = {module: module.training for module in model.modules()}
    if not model.training:
        model.train()
    norms = {name: module for name, module in model.named_modules() if _learns(module)}
    momenta = {name: norm.momentum for name, norm in norms.items()}
    counts = {name: norm.num_batches_tracked.clone() for name, norm in norms.items()}
    moments = {name: Moments(norm) for name, norm in norms.items()}
    try:
        with ExitStack() as hooks:
            for name, norm in norms.items():
                norm.momentum = 0.0  # running statistics do not change in the passes
                hooks.callback(norm.register_forward_pre_hook(moments[name].observe).remove)
            seen = 0
            for batch in islice(batches, num_batches):
                model(batch)
                seen += 1
        if seen == 0:
            raise ValueError(f"precise batch norm: expected {num_batches} batches, got none")
        _set_statistics(norms, moments)
    finally:
        for name, norm in norms.items():
            norm.momentum = momenta[name]
            norm.num_batches_tracked.copy_(counts[name])
        for module, training in modes.items():
            module.training = training


class Moments:
    """Count, mean and sum of squared deviations of all values seen so far, per channel, in float64."""

    def __init__(self, norm: _BatchNorm) -> None:
        self.count = 0  # on the host
        self.mean, self.m2 = (
            torch.zeros(norm.num_features, dtype=torch.float64, device=norm.running_mean.device) for _ in range(2)
        )

    def observe(self, _: nn.Module, args: tuple[Any, ...]) -> None:
        """Forward pre-hook: add the values of the first argument, (N, C, ...) or packed clips (real frames only)."""
        x: Tensor | PackedClips = args[0]
        count, mean, m2 = channel_moments(to_frames(x)[0].flatten(0, 2) if isinstance(x, PackedClips) else x)
        offset, total = mean - self.mean, self.count + count
        self.m2 += m2 + offset.square() * (self.count * count / total)  # law of total variance
        self.mean += offset * (count / total)
        self.count = total


def _learns(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) and module.training and module.running_mean is not None


def _set_statistics(norms: dict[str, _BatchNorm], moments: dict[str, Moments]) -> None:
    """Merge the moments of all processes in two collectives and write them into the norms; one wait for the device."""
    mine = list(moments.values())
    if not mine:
        return
    device = mine[0].mean.device
    counts = to_device(torch.tensor([m.count for m in mine], dtype=torch.float64), device)
    counts, *sums = all_reduce_sum([counts, *(m.count * m.mean for m in mine)])
    means = [total / count.clamp(min=1) for total, count in zip(sums, counts, strict=True)]
    m2s = all_reduce_sum([m.m2 + m.count * (m.mean - mean).square() for m, mean in zip(mine, means, strict=True)])
    finite = [mean.isfinite().all() & m2.isfinite().all() for mean, m2 in zip(means, m2s, strict=True)]
    reached, are_finite = torch.stack([counts > 0, torch.stack(finite)]).tolist()
    for name, seen, is_finite in zip(norms, reached, are_finite, strict=True):
        if seen and not is_finite:
            raise FloatingPointError(f"precise batch norm: the input of {name} has values that are not finite")
    for norm, seen, count, mean, m2 in zip(norms.values(), reached, counts, means, m2s, strict=True):
        if seen:
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(m2 / (count - 1).clamp(min=1))  # unbiased, as running variances are
