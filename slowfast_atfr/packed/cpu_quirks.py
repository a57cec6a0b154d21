"""What torch's CPU kernels and oneDNN do that callers have to know, each with the version in which it was seen."""

import torch
import torch.nn.functional as F
from torch import Tensor

# Torch gives a 3-D convolution of a batch of one to oneDNN only when C x T x H is above this, or it has groups; what
# is left runs on a kernel of its own, three times slower (torch 2.13).
ONEDNN_FROM = 20480


def is_onednn(batch: int, channels: int, frames: int, height: int) -> bool:
    """Whether torch itself gives such a convolution, without groups, to oneDNN."""
    return batch > 1 or channels * frames * height > ONEDNN_FROM


def conv3d(
    dense: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple, padding: tuple, dilation: tuple, groups: int
) -> Tensor:
    """F.conv3d, in inference by oneDNN where torch would not take it; (N, C, T, H, W)."""
    if groups == 1 and _could_take_onednn(dense, weight) and not is_onednn(*dense.shape[:4]):
        return torch.mkldnn_convolution(dense, weight, bias, padding, stride, dilation, groups)
    return F.conv3d(dense, weight, bias, stride, padding, dilation, groups)


def _could_take_onednn(dense: Tensor, weight: Tensor) -> bool:
    """In training torch's own choice stays, whose gradients are tested."""
    plain = dense.device.type == "cpu" and dense.dtype == weight.dtype == torch.float32
    return (
        plain
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
    )
