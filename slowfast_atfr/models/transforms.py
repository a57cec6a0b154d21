"""Transforms of residual blocks: the branch that the shortcut is added to. Parameter names are PySlowFast's."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_atfr.models.convolution import conv3d
from slowfast_atfr.models.norm import Norm
from slowfast_atfr.models.stages import BlockSpec, round_width
from slowfast_atfr.packed import Clips


class BottleneckTransform(nn.Sequential):
    """conv Tx1x1 -> 1x3x3 -> 1x1x1, each with norm, and ReLU between: (N, C, T, H, W) -> (N, C', T, H/s, W/s).

    Args:
        block: channels, kernels and strides.
        norm, inplace_relu: as everywhere in the network.
        temporal_kernels: of the first and the second convolution; by default the first one has the block's.
        before_c: layers between the second norm and the last convolution, by name; by default a ReLU.
    """

    def __init__(
        self,
        block: BlockSpec,
        *,
        norm: Norm,
        inplace_relu: bool,
        temporal_kernels: tuple[int, int] | None = None,
        before_c: dict[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        kernel_a, kernel_b = temporal_kernels or (block.temporal_kernel, 1)
        stride_a, stride_b = (block.stride, 1) if block.stride_1x1 else (1, block.stride)
        self.a = conv3d(
            block.dim_in,
            block.dim_inner,
            (kernel_a, 1, 1),
            stride=(1, stride_a, stride_a),
            padding=(kernel_a // 2, 0, 0),
        )
        self.a_bn = norm(block.dim_inner)
        self.a_relu = nn.ReLU(inplace=inplace_relu)
        self.b = conv3d(
            block.dim_inner,
            block.dim_inner,
            (kernel_b, 3, 3),
            stride=(1, stride_b, stride_b),
            padding=(kernel_b // 2, block.dilation, block.dilation),
            dilation=(1, block.dilation, block.dilation),
            groups=block.num_groups,
        )
        self.b_bn = norm(block.dim_inner)
        for name, layer in (before_c or {"b_relu": nn.ReLU(inplace=inplace_relu)}).items():
            self.add_module(name, layer)
        self.c = conv3d(block.dim_inner, block.dim_out, (1, 1, 1))
        self.c_bn = norm(block.dim_out)

    @property
    def final_bn(self) -> nn.Module:
        """The norm whose weight RESNET.ZERO_INIT_FINAL_BN starts at zero."""
        return self.c_bn


class X3DTransform(BottleneckTransform):
    """conv 1x1x1 -> Tx3x3 -> 1x1x1, each with norm: (N, C, T, H, W) -> (N, C', T, H/s, W/s).

    ReLU follows the first; squeeze-and-excitation, in every other block, and swish the second.
    Source: Feichtenhofer, X3D, CVPR 2020.
    """

    def __init__(self, block: BlockSpec, *, norm: Norm, inplace_relu: bool) -> None:
        squeeze = {"se": SqueezeExcitation(block.dim_inner, inplace=inplace_relu)} if block.index % 2 == 0 else {}
        super().__init__(
            block,
            norm=norm,
            inplace_relu=inplace_relu,
            temporal_kernels=(1, block.temporal_kernel),
            before_c={**squeeze, "b_relu": Swish(inplace=inplace_relu)},
        )


class SqueezeExcitation(nn.Module):
    """Scale every channel of a clip by a factor in (0, 1), computed from the clip's means.

    Source: Hu et al., CVPR 2018; the hidden layer has a sixteenth of the channels, rounded to a multiple of 8.

    Args:
        dim: channels.
        inplace: whether the input may be overwritten where no backward pass needs it.
    """

    def __init__(self, dim: int, *, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        hidden = round_width(dim / 16, divisor=8)
        self.fc1 = nn.Conv3d(dim, hidden, 1)
        self.fc2 = nn.Conv3d(hidden, dim, 1)

    def forward(self, x: Clips) -> Clips:
        return self.scale(x, self.factors(x))

    def factors(self, x: Clips) -> Tensor:
        """(N, C, 1, 1, 1), from the means over each clip's own frames."""
        return torch.sigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool3d(x, 1)))))

    def scale(self, x: Clips, factors: Tensor) -> Clips:
        """x, or frames of it, by factors that broadcast."""
        return x.mul_(factors) if self.inplace and not torch.is_grad_enabled() else x * factors


class Swish(nn.SiLU):
    """x * sigmoid(x); in place only without gradients: autograd would keep a copy of the input."""

    def forward(self, x: Clips) -> Clips:
        return F.silu(x, inplace=self.inplace and not torch.is_grad_enabled())


class BasicTransform(nn.Sequential):
    """conv Tx3x3 -> 1x3x3, each with norm, and ReLU between: (N, C, T, H, W) -> (N, C', T, H/s, W/s).

    The second convolution has the block's dilation; only a bottleneck has groups and inner channels.
    """

    def __init__(self, block: BlockSpec, *, norm: Norm, inplace_relu: bool) -> None:
        super().__init__()
        kernel, stride, padding = block.temporal_kernel, block.stride, (block.temporal_kernel // 2, 1, 1)
        self.a = conv3d(block.dim_in, block.dim_out, (kernel, 3, 3), stride=(1, stride, stride), padding=padding)
        self.a_bn = norm(block.dim_out)
        self.a_relu = nn.ReLU(inplace=inplace_relu)
        dilated = (block.dilation, block.dilation)
        self.b = conv3d(block.dim_out, block.dim_out, (1, 3, 3), padding=(0, *dilated), dilation=(1, *dilated))
        self.b_bn = norm(block.dim_out)

    @property
    def final_bn(self) -> nn.Module:
        """The norm whose weight RESNET.ZERO_INIT_FINAL_BN starts at zero."""
        return self.b_bn


TRANSFORMS = {  # by RESNET.TRANS_FUNC
    "bottleneck_transform": BottleneckTransform,
    "basic_transform": BasicTransform,
    "x3d_transform": X3DTransform,
}
