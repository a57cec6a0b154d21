"""The first layers: a strided convolution over space and time, batch norm, ReLU and a spatial max pool."""

from typing import Any

import torch
from torch import Tensor, nn

from slowfast_atfr.models.convolution import TemporalConv3d
from slowfast_atfr.models.norm import Norm
from slowfast_atfr.models.stages import StemSpec
from slowfast_atfr.packed import Clips
from slowfast_atfr.packed.cpu_quirks import conv3d_in_pairs, is_short, leaves_lanes_idle
from slowfast_atfr.utils.exporting import is_exporting


class StemConv3d(TemporalConv3d):
    """TemporalConv3d that computes frames in pairs where it has temporal stride 1 and that fills a CPU's vectors."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        plain = self.stride[0] == self.groups == 1 and self.dilation == (1, 1, 1)
        self.leaves_lanes = plain and leaves_lanes_idle(self.out_channels)

    def convolve(self, x: Clips, padding: tuple[int, int, int]) -> Clips:
        if self.makes_pairs(x):
            return conv3d_in_pairs(x, self.weight, self.bias, self.stride[1:], padding)
        return super().convolve(x, padding)

    def makes_pairs(self, x: Clips) -> bool:
        """Whether lanes are idle, and x is dense and long enough for the kernel of a pair."""
        if not self.leaves_lanes or not isinstance(x, Tensor) or x.ndim != 5 or is_exporting():
            return False
        short = is_short(x.shape[2], self.kernel_size[0] + 1, stride=2)
        return x.device.type == "cpu" and x.dtype != torch.float64 and not short


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
