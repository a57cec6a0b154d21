"""The first layers: a strided convolution over space and time, batch norm, ReLU and a spatial max pool."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

from slowfast_atfr.models.norm import Norm
from slowfast_atfr.models.resnet import Clips
from slowfast_atfr.models.stages import StemSpec
from slowfast_atfr.utils.exporting import is_exporting

LANES = 16  # float32 numbers in a vector of AVX-512


class StemConv3d(nn.Conv3d):
    """nn.Conv3d that makes frames in pairs where it steps over none and that fills a CPU's vectors.

    oneDNN gives every output channel a lane, of which AVX-512 has 16: a stem of 8 channels leaves half of them idle.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        vectors = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        plain = self.stride[0] == self.groups == 1 and self.dilation == (1, 1, 1)
        zeros = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        self.leaves_lanes = vectors and plain and zeros and self.out_channels <= LANES // 2

    def forward(self, x: Clips) -> Clips:
        if self.makes_pairs(x):
            return conv3d_in_pairs(x, self.weight, self.bias, self.stride[1:], self.padding)
        return super().forward(x)

    def makes_pairs(self, x: Clips) -> bool:
        """Whether lanes are idle and x is dense and long: oneDNN's gradient needs a window within the clip."""
        if not self.leaves_lanes or not isinstance(x, Tensor) or x.ndim != 5 or is_exporting():
            return False
        return x.device.type == "cpu" and x.dtype != torch.float64 and x.shape[2] >= self.kernel_size[0] + 2


def conv3d_in_pairs(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, int], padding: tuple[int, int, int]
) -> Tensor:
    """F.conv3d with stride (1, *stride), by one that makes two neighbouring frames at once.

    They are the channels of a convolution with twice as many, whose kernel has a frame more and whose stride is 2.

    Args:
        x: (N, C, T, H, W).
        weight: (O, C, t, h, w).
        bias: (O,).
    Returns:
        (N, O, T', H', W'), channels_last_3d.
    """
    if has_torch_function_unary(x):  # so that one who counts sees the convolution that is meant
        return handle_torch_function(conv3d_in_pairs, (x,), x, weight, bias, stride, padding)
    frames, channels = x.shape[2] + 2 * padding[0] - weight.shape[2] + 1, len(weight)
    x = F.pad(x, (0, 0, 0, 0, 0, frames % 2))
    both = torch.cat([F.pad(weight, (0, 0, 0, 0, 0, 1)), F.pad(weight, (0, 0, 0, 0, 1, 0))])
    pairs = F.conv3d(x, both, None if bias is None else bias.repeat(2), (2, *stride), padding)  # (N, 2 O, T'/2, H', W')
    rows = pairs.permute(0, 2, 3, 4, 1).unflatten(4, (2, channels)).permute(0, 1, 4, 2, 3, 5)
    return rows.flatten(1, 2)[:, :frames].contiguous().permute(0, 4, 1, 2, 3)


class ResNetBasicStem(nn.Module):
    """conv tx7x7 / 2, norm, ReLU, max pool 1x3x3 / 2: (N, 3, T, H, W) -> (N, dim_out, T, H/4, W/4)."""

    def __init__(self, dim_in: int, dim_out: int, *, temporal_kernel: int, norm: Norm, inplace_relu: bool) -> None:
        super().__init__()
        padding = (temporal_kernel // 2, 3, 3)
        self.conv = StemConv3d(dim_in, dim_out, (temporal_kernel, 7, 7), (1, 2, 2), padding, bias=False)
        self.bn = norm(dim_out)
        self.relu = nn.ReLU(inplace=inplace_relu)
        self.pool_layer = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool_layer(self.relu(self.bn(self.conv(x))))


class VideoModelStem(nn.Module):
    """A stem for each pathway, `pathway0_stem` (slow) and `pathway1_stem` (fast), of the given kind."""

    def __init__(self, spec: StemSpec, *, kind: type[nn.Module], norm: Norm, inplace_relu: bool) -> None:
        super().__init__()
        for index, (dim_in, dim_out, kernel) in enumerate(
            zip(spec.dim_in, spec.dim_out, spec.temporal_kernel, strict=True)
        ):
            stem = kind(dim_in, dim_out, temporal_kernel=kernel, norm=norm, inplace_relu=inplace_relu)
            self.add_module(f"pathway{index}_stem", stem)

    def forward(self, pathways: list[Tensor]) -> list[Tensor]:
        return [getattr(self, f"pathway{index}_stem")(x) for index, x in enumerate(pathways)]
