"""Batch norm: torch's, and one with statistics over several processes, or over parts of a process's clips."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from fvcore.common.config import CfgNode
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast_atfr.config import NORM_TYPES, ConfigError
from slowfast_atfr.models.norm_split import rows_of_splits, split_batch_norm
from slowfast_atfr.models.sync_norm import has_kernels, sync_batch_norm
from slowfast_atfr.packed import PackedClips, from_frames, over_frames, to_frames
from slowfast_atfr.utils.distributed import get_rank, get_world_size

Norm = Callable[[int], nn.Module]


class FramesBatchNorm3d(nn.BatchNorm3d):
    """nn.BatchNorm3d that takes frames, (S, C, H, W), too."""

    def _check_input_dim(self, x: Tensor | PackedClips) -> None:
        if x.dim() != 4:
            super()._check_input_dim(x)


LOCAL_NORMS = {1: nn.BatchNorm1d, 3: FramesBatchNorm3d}  # by dims


def norm_from(cfg: CfgNode, dims: int = 3) -> Norm:
    """Return the constructor of BN.NORM_TYPE, which takes the number of channels.

    With sync_batchnorm this forms process groups: every process must call it, at the same point, once per model.

    Args:
        cfg: a validated config; reads BN, and MULTIGRID, which needs norms that `set_norm` can change.
        dims: of the inputs after N and C: 3 for (N, C, T, H, W), 1 for (N, C) or (N, C, L).
    Raises:
        ConfigError: for an unknown BN.NORM_TYPE, or if BN.NUM_SYNC_DEVICES does not divide the number of processes.
    """
    settings = {"eps": cfg.BN.EPSILON, "momentum": cfg.BN.MOMENTUM}
    kind = cfg.BN.NORM_TYPE
    if kind not in NORM_TYPES:
        raise ConfigError(f"BN.NORM_TYPE is {kind!r}; choose one of {', '.join(NORM_TYPES)}")
    if kind == "batchnorm" and not cfg.MULTIGRID.LONG_CYCLE:
        return partial(LOCAL_NORMS[dims], **settings)
    if kind == "sync_batchnorm":
        settings["group_size"] = min(cfg.BN.NUM_SYNC_DEVICES, get_world_size())
        settings["group"] = sync_group(settings["group_size"], cfg.DIST_TIMEOUT)
    elif kind == "sub_batchnorm":
        settings["num_splits"] = cfg.BN.NUM_SPLITS
    return partial(CountedBatchNorm, **settings)


def set_norm(model: nn.Module, *, num_splits: int = 1, sync_devices: int = 1, timeout: float = 10.0) -> None:
    """Change in place over which values a model's norms take statistics; weights and running statistics stay.

    It forms process groups: every process must call it, at the same point.

    Args:
        model: with norms of `norm_from`, for MULTIGRID.LONG_CYCLE, sync_batchnorm or sub_batchnorm.
        num_splits: parts of a process's clips, each normalised by itself.
        sync_devices: processes that share statistics; all of them if there are fewer.
        timeout: minutes that they wait for each other.
    Raises:
        ConfigError: if sync_devices does not divide the number of processes.
    """
    group_size = min(sync_devices, get_world_size())
    group = sync_group(group_size, timeout)
    for norm in model.modules():
        if isinstance(norm, CountedBatchNorm):
            norm.num_splits, norm.group_size, norm.group = num_splits, group_size, group


def sync_group(size: int, timeout: float) -> dist.ProcessGroup | None:
    """This process's group of `size` consecutive ranks; a collective. None: the default group, or this process alone.

    Args:
        size: ranks of a group.
        timeout: minutes that they wait for each other; torch does not inherit it from the default group.
    Raises:
        ConfigError: if groups of this size do not fill the world.
    """
    world = get_world_size()
    if world % size:
        raise ConfigError(
            f"BN.NUM_SYNC_DEVICES is {size}, but the run has {world} processes; choose a divisor of {world}, "
            "so that all groups have this size"
        )
    if size in (1, world):
        return None
    firsts, wait = range(0, world, size), timedelta(minutes=timeout)  # every process forms all groups, in one order
    groups = [dist.new_group(list(range(first, first + size)), timeout=wait) for first in firsts]
    return groups[get_rank() // size]


class CountedBatchNorm(_BatchNorm):
    """Batch norm over the values of `group_size` processes together, or over each of `num_splits` parts of a batch.

    Each value has the same weight, even if processes have different numbers of values. torch's sync batch norm also
    counts values, but runs on GPUs only, where this uses its kernels. PySlowFast's gives every process the same weight:
    for 900 values of mean 1 on one process and 100 of mean -1 on another the mean is 0.8, and PySlowFast computes 0.
    Parts consist of whole clips of any length, clip i in part i % num_splits; running statistics are those of batches
    of a part's size. In eval mode, and with one process and one part, this is plain batch norm. State-dict keys are
    those of BatchNorm3d; the backward pass is that of the sum of all processes' losses.

    Args:
        num_features: C of the inputs, (N, C, ...) or packed clips.
        eps, momentum: as those of nn.BatchNorm3d.
        group_size: processes that share statistics.
        group: those processes; None with group_size > 1 is all of them.
        num_splits: parts of a process's clips.
    """

    def __init__(
        self,
        num_features: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        group_size: int = 1,
        group: dist.ProcessGroup | None = None,
        num_splits: int = 1,
    ) -> None:
        super().__init__(num_features, eps, momentum)
        self.group_size, self.group, self.num_splits = group_size, group, num_splits

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, group_size={self.group_size}, num_splits={self.num_splits}"

    @property
    def needs_others(self) -> bool:
        """Whether statistics span several processes, or parts of the clips."""
        return self.training and not self.group_size == self.num_splits == 1

    def forward(self, x: Tensor | PackedClips, lengths: Sequence[int] | None = None) -> Tensor | PackedClips:
        """Normalise (N, C, ...) or packed clips; `lengths`: rows of N of each clip, by default one."""
        if not self.needs_others:
            return super().forward(x)
        self._check_input_dim(x)
        if self.group_size > 1:
            together = self._normalize_together
            return over_frames(together, x) if isinstance(x, PackedClips) else together(x)
        if isinstance(x, PackedClips):
            frames, lengths = to_frames(x)
            return from_frames(self._normalize_splits(frames, lengths), lengths, round_to=x.round_to)
        lengths = (1,) * len(x) if lengths is None else lengths
        return self._normalize_splits(x.movedim(1, -1), lengths).movedim(-1, 1)

    def _check_input_dim(self, x: Tensor | PackedClips) -> None:
        if x.dim() < 2 or x.shape[1] != self.num_features:
            raise ValueError(f"this norm takes (N, {self.num_features}, ...), got {tuple(x.shape)}")

    def _normalize_together(self, x: Tensor) -> Tensor:
        if has_kernels(x):
            return sync_batch_norm(x, self)
        out, mean, var = _SyncNormalize.apply(x, self.weight, self.bias, self.eps, self.group_size, self.group)
        self._track(mean, var)
        return out

    def _normalize_splits(self, values: Tensor, lengths: Sequence[int]) -> Tensor:
        """(R, ..., C) -> the same; a clip is `lengths` rows of R."""
        per_row = values[0].numel() // self.num_features
        splits = rows_of_splits(lengths, self.num_splits, values_per_row=per_row)
        out, mean, var = split_batch_norm(values, splits, self.weight, self.bias, self.eps)
        self._track(mean, var)
        return out

    def _track(self, mean: Tensor, var: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        self.running_var.lerp_(var.to(self.running_var.dtype), self.momentum)


def channel_moments(x: Tensor) -> tuple[int, Tensor, Tensor]:
    """Number of values per channel, their mean, and the sum of their squared distances from it.

    Two passes: E[x^2] - E[x]^2 would be inaccurate for a large mean, and on the CPU torch's batch norm adds float32
    numbers one after the other, so that in channels_last a large clip's variance is wrong by 1e-3.

    Args:
        x: (N, C, ...).
    Returns:
        n, (C,) and (C,), both float64.
    """
    x = _at_least_float32(x)
    mean = x.mean(_all_but_channels(x), keepdim=True)
    spread = (x - mean).square_().mean(_all_but_channels(x))
    num_values = x.numel() // x.shape[1]
    return num_values, mean.flatten().double(), spread.double() * num_values


class _SyncNormalize(Function):
    """(x, weight, bias) -> normalised x, and mean and unbiased variance (C,) of the group, which carry no gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, group_size: int, group: dist.ProcessGroup | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        if x.numel() == 0:
            raise ValueError(f"batch norm needs values to learn from, got an empty input of shape {tuple(x.shape)}")
        num_values, mean, m2 = channel_moments(x)
        mine = torch.cat([mean.new_full((1,), num_values), mean, m2])
        gathered = [torch.empty_like(mine) for _ in range(group_size)]
        dist.all_gather(gathered, mine, group=group)
        counts, means, m2s = torch.stack(gathered).split([1, x.shape[1], x.shape[1]], dim=1)
        total = counts.sum()
        mean = (counts * means).sum(0) / total
        m2 = (m2s + counts * (means - mean).square()).sum(0)  # law of total variance
        kind = _at_least_float32(x).dtype
        var = m2 / total
        ctx.save_for_backward(x, weight, mean.to(kind), (var + eps).rsqrt().to(kind), total.to(kind))
        ctx.group = group
        unbiased = m2 / (total - 1)
        ctx.mark_non_differentiable(mean, unbiased)
        return F.batch_norm(x, mean.to(kind), var.to(kind), weight, bias, eps=eps), mean, unbiased

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, weight, mean, invstd, total = ctx.saved_tensors
        shape = (1, -1) + (1,) * (x.ndim - 2)
        grad = grad.to(mean.dtype)
        centred = torch.empty_like(x, dtype=mean.dtype)  # gives the gradient the strides of packed clips
        torch.sub(x, mean.view(shape), out=centred)
        grad_bias = grad.sum(_all_but_channels(x))
        grad_weight = (grad * centred).sum(_all_but_channels(x)) * invstd
        if not ctx.needs_input_grad[0]:
            return None, grad_weight, grad_bias, None, None, None
        sums = torch.cat([grad_bias, grad_weight])
        dist.all_reduce(sums, group=ctx.group)
        mean_grad, mean_grad_xhat = (sums / total).chunk(2)
        # weight * invstd * (grad - mean_grad - xhat * mean_grad_xhat), in place
        scale = weight.to(mean.dtype) * invstd
        centred.mul_((-scale * invstd * mean_grad_xhat).view(shape)).sub_((scale * mean_grad).view(shape))
        centred.addcmul_(grad, scale.view(shape))
        return centred.to(x.dtype), grad_weight, grad_bias, None, None, None


def _all_but_channels(x: Tensor) -> list[int]:
    return [dim for dim in range(x.ndim) if dim != 1]


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))
