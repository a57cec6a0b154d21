"""What torch's CPU kernels and oneDNN do that callers have to know, each with the version in which it was seen."""

import torch
import torch.nn.functional as F
from torch import Tensor

from slowfast_atfr.packed.clips import PackedClips

# Torch gives a 3-D convolution of a batch of one to oneDNN only when C x T x H is above this, or it has groups; what
# is left runs on a kernel of its own (torch 2.13).
ONEDNN_FROM = 20480
SLOWNESS = 3  # how many times as much that costs, at least


def has_onednn(batch: int, channels: int, frames: int, height: int) -> bool:
    """Whether torch itself gives such a convolution, without groups, to oneDNN."""
    return batch > 1 or channels * frames * height > ONEDNN_FROM


def onednn_from(x: PackedClips, weight: Tensor, groups: int) -> int:
    """Frames of a batch of one from which oneDNN takes conv3d of x."""
    if groups > 1 or x.device.type != "cpu" or _can_choose_onednn(x.joined, weight):
        return 0
    return ONEDNN_FROM // (x.shape[1] * x.shape[3]) + 1


def conv3d(
    dense: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple, padding: tuple, dilation: tuple, groups: int
) -> Tensor:
    """F.conv3d of (N, C, T, H, W), in inference by oneDNN where torch would not take it."""
    if groups == 1 and _can_choose_onednn(dense, weight) and not has_onednn(*dense.shape[:4]):
        return torch.mkldnn_convolution(dense, weight, bias, padding, stride, dilation, groups)
    return F.conv3d(dense, weight, bias, stride, padding, dilation, groups)


def _can_choose_onednn(x: Tensor, weight: Tensor) -> bool:
    """In training torch's own choice stays, whose gradients are tested."""
    plain = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    return (
        plain
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
    )
