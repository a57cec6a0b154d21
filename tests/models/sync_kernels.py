"""What torch's documentation says that the kernels of its sync batch norm compute, for machines without a GPU."""

from unittest import mock

import torch

from slowfast_atfr.models import norm as norm_module


def _by_channel(values, x):
    return values.view(1, -1, *(1,) * (x.ndim - 2))


def _sum(x):
    return x.sum([dim for dim in range(x.ndim) if dim != 1])


def batch_norm_stats(x, eps):
    mean = _sum(x) / (x.numel() // x.shape[1])
    var = _sum((x - _by_channel(mean, x)).square()) / (x.numel() // x.shape[1])
    return mean, (var + eps).rsqrt()


def batch_norm_gather_stats_with_counts(x, means, invstds, running_mean, running_var, momentum, eps, counts):
    counts, variances = counts[:, None], invstds.pow(-2) - eps
    mean = (counts * means).sum(0) / counts.sum()
    var = (counts * (variances + (means - mean).square())).sum(0) / counts.sum()
    running_mean.lerp_(mean, momentum)
    running_var.lerp_(var * counts.sum() / (counts.sum() - 1), momentum)
    return mean, (var + eps).rsqrt()


def batch_norm_elemt(x, weight, bias, mean, invstd, eps):
    return (x - _by_channel(mean, x)) * _by_channel(invstd * weight, x) + _by_channel(bias, x)


def batch_norm_backward_reduce(grad, x, mean, invstd, weight, for_input, for_weight, for_bias):
    sum_dy, sum_dy_xmu = _sum(grad), _sum(grad * (x - _by_channel(mean, x)))
    return sum_dy, sum_dy_xmu, sum_dy_xmu * invstd, sum_dy.clone()


def batch_norm_backward_elemt(grad, x, mean, invstd, weight, sum_dy, sum_dy_xmu, counts):
    assert counts.dtype == torch.int32
    centred, total = x - _by_channel(mean, x), counts.sum()
    centred = centred * _by_channel(invstd.square() * sum_dy_xmu / total, x)
    return (grad - _by_channel(sum_dy / total, x) - centred) * _by_channel(invstd * weight, x)


KERNELS = (
    batch_norm_stats,
    batch_norm_gather_stats_with_counts,
    batch_norm_elemt,
    batch_norm_backward_reduce,
    batch_norm_backward_elemt,
)


def install(stack, wrap=lambda kernel: kernel):
    """Have norms take the branch of a GPU while the stack lasts."""
    for kernel in KERNELS:
        stack.enter_context(mock.patch.object(torch, kernel.__name__, wrap(kernel)))
    stack.enter_context(mock.patch.object(norm_module, "has_kernels", lambda x: True))
