"""Batch norm over several processes by torch's CUDA kernels: one collective each way, without waiting for the device.

For CPUs, and types that the kernels do not take, `norm.py` has the same in plain operators.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable


def has_kernels(x: Tensor) -> bool:
    """Whether torch has kernels for a batch norm of x over several processes."""
    return x.is_cuda and x.dtype in (torch.float32, torch.float16, torch.bfloat16)


def sync_batch_norm(x: Tensor, norm: nn.Module) -> Tensor:
    """Normalise (N, C, ...) by the statistics of `norm.group_size` processes together, and track them.

    Args:
        norm: a CountedBatchNorm, in training.
    Raises:
        ValueError: if x is empty.
    """
    if x.numel() == 0:
        raise ValueError(f"batch norm needs values to learn from, got an empty input of shape {tuple(x.shape)}")
    norm.num_batches_tracked.add_(1)
    return _SyncKernels.apply(x, norm.weight, norm.bias, norm)


class _SyncKernels(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, norm: nn.Module) -> Tensor:
        x = _in_order(x)
        channels = x.shape[1]
        mean, invstd = torch.batch_norm_stats(x, norm.eps)
        mine = torch.cat([mean, invstd, mean.new_full((1,), x.numel() // channels)])
        everyone = mine.new_empty(norm.group_size * len(mine))
        dist.all_gather_into_tensor(everyone, mine, group=norm.group)
        means, invstds, counts = everyone.view(norm.group_size, -1).split([channels, channels, 1], dim=1)
        counts = counts.flatten()
        running = norm.running_mean, norm.running_var
        mean, invstd = torch.batch_norm_gather_stats_with_counts(
            x, means, invstds, *running, norm.momentum, norm.eps, counts
        )
        ctx.save_for_backward(x, weight, mean, invstd, counts.to(torch.int32))
        ctx.group = norm.group
        return torch.batch_norm_elemt(x, weight, bias, mean, invstd, norm.eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, invstd, counts = ctx.saved_tensors
        grad = _in_order(grad)
        sum_dy, sum_dy_xmu, grad_weight, grad_bias = torch.batch_norm_backward_reduce(
            grad, x, mean, invstd, weight, True, True, True
        )
        if not ctx.needs_input_grad[0]:
            return None, grad_weight, grad_bias, None
        sums = torch.cat([sum_dy, sum_dy_xmu])
        dist.all_reduce(sums, group=ctx.group)
        sum_dy, sum_dy_xmu = sums.chunk(2)
        grad_x = torch.batch_norm_backward_elemt(grad, x, mean, invstd, weight, sum_dy, sum_dy_xmu, counts)
        return grad_x, grad_weight, grad_bias, None


def _in_order(x: Tensor) -> Tensor:
    """x itself if it is channels last, else contiguous: the layouts that the kernels take."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)
    return x if last is not None and x.is_contiguous(memory_format=last) else x.contiguous()
