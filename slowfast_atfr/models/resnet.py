"""Residual blocks and stages, for dense tensors and packed clips alike. Parameter names are PySlowFast's."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_atfr.models.nonlocal_block import Nonlocal
from slowfast_atfr.models.norm import Norm
from slowfast_atfr.models.stages import BlockSpec, StageSpec, round_width
from slowfast_atfr.packed import PackedClips, keep_apart

Clips = Tensor | PackedClips


class BottleneckTransform(nn.Sequential):
    """conv Tx1x1 -> 1x3x3 -> 1x1x1, each with norm, and ReLU between: (N, C, T, H, W) -> (N, C', T, H/s, W/s).

    Args:
        block: channels, kernels and strides.
        norm, inplace_relu: as everywhere in the network.
        temporal_kernels: of the first and the second convolution; by default the first one has the block's.
        behind_b: what stands between the second norm and the last convolution, by name; by default a ReLU.
    """

    def __init__(
        self,
        block: BlockSpec,
        *,
        norm: Norm,
        inplace_relu: bool,
        temporal_kernels: tuple[int, int] | None = None,
        behind_b: dict[str, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        kernel_a, kernel_b = temporal_kernels or (block.temporal_kernel, 1)
        stride_a, stride_b = (block.stride, 1) if block.stride_1x1 else (1, block.stride)
        self.a = nn.Conv3d(
            block.dim_in,
            block.dim_inner,
            (kernel_a, 1, 1),
            stride=(1, stride_a, stride_a),
            padding=(kernel_a // 2, 0, 0),
            bias=False,
        )
        self.a_bn = norm(block.dim_inner)
        self.a_relu = nn.ReLU(inplace=inplace_relu)
        self.b = nn.Conv3d(
            block.dim_inner,
            block.dim_inner,
            (kernel_b, 3, 3),
            stride=(1, stride_b, stride_b),
            padding=(kernel_b // 2, block.dilation, block.dilation),
            dilation=(1, block.dilation, block.dilation),
            groups=block.num_groups,
            bias=False,
        )
        self.gap = kernel_b // 2 if block.num_groups == block.dim_inner else 0  # that a channelwise b keeps
        self.b_bn = norm(block.dim_inner)
        for name, layer in (behind_b or {"b_relu": nn.ReLU(inplace=inplace_relu)}).items():
            self.add_module(name, layer)
        self.c = nn.Conv3d(block.dim_inner, block.dim_out, 1, bias=False)
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
            behind_b={**squeeze, "b_relu": Swish(inplace=inplace_relu)},
        )


class SqueezeExcitation(nn.Module):
    """Scales every channel of a clip by a factor in (0, 1), which its means over the clip decide.

    Source: Hu et al., CVPR 2018; the hidden layer has a sixteenth of the channels, rounded to a multiple of 8.

    Args:
        dim: channels.
        inplace: whether the input may be written over where no backward pass wants it.
    """

    def __init__(self, dim: int, *, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace
        hidden = round_width(dim / 16, divisor=8)
        self.fc1 = nn.Conv3d(dim, hidden, 1)
        self.fc2 = nn.Conv3d(hidden, dim, 1)

    def forward(self, x: Clips) -> Clips:
        means = F.adaptive_avg_pool3d(x, 1)  # (N, C, 1, 1, 1), over the clip's own frames; dense
        factor = torch.sigmoid(self.fc2(F.relu(self.fc1(means))))
        return x.mul_(factor) if self.inplace and not torch.is_grad_enabled() else x * factor


class Swish(nn.SiLU):
    """x * sigmoid(x); in place only where no backward pass wants the input, of which autograd would keep a copy."""

    def forward(self, x: Clips) -> Clips:
        return F.silu(x, inplace=self.inplace and not torch.is_grad_enabled())


class BasicTransform(nn.Module):
    """conv Tx3x3 -> 1x3x3, each with norm, and ReLU between: (N, C, T, H, W) -> (N, C', T, H/s, W/s).

    The second convolution has the block's dilation; only a bottleneck has groups and inner channels.
    """

    gap = 0

    def __init__(self, block: BlockSpec, *, norm: Norm, inplace_relu: bool) -> None:
        super().__init__()
        kernel, stride, padding = block.temporal_kernel, block.stride, (block.temporal_kernel // 2, 1, 1)
        self.a = nn.Conv3d(block.dim_in, block.dim_out, (kernel, 3, 3), (1, stride, stride), padding, bias=False)
        self.a_bn = norm(block.dim_out)
        self.a_relu = nn.ReLU(inplace=inplace_relu)
        dilated = (block.dilation, block.dilation)
        self.b = nn.Conv3d(
            block.dim_out, block.dim_out, (1, 3, 3), padding=(0, *dilated), dilation=(1, *dilated), bias=False
        )
        self.b_bn = norm(block.dim_out)

    @property
    def final_bn(self) -> nn.Module:
        """The norm whose weight RESNET.ZERO_INIT_FINAL_BN starts at zero."""
        return self.b_bn

    def forward(self, x: Clips) -> Clips:
        return self.b_bn(self.b(self.a_relu(self.a_bn(self.a(x)))))


TRANSFORMS = {  # by RESNET.TRANS_FUNC
    "bottleneck_transform": BottleneckTransform,
    "basic_transform": BasicTransform,
    "x3d_transform": X3DTransform,
}


class ResBlock(nn.Module):
    """ReLU(shortcut(x) + transform(x)); the shortcut is a 1x1x1 convolution where channels or stride change."""

    def __init__(self, block: BlockSpec, *, trans_func: str, norm: Norm, inplace_relu: bool) -> None:
        super().__init__()
        if block.dim_in != block.dim_out or block.stride != 1:
            stride = (1, block.stride, block.stride)
            self.branch1 = nn.Conv3d(block.dim_in, block.dim_out, 1, stride=stride, bias=False)
            self.branch1_bn = norm(block.dim_out)
        self.branch2 = TRANSFORMS[trans_func](block, norm=norm, inplace_relu=inplace_relu)
        self.relu = nn.ReLU(inplace=inplace_relu)

    def forward(self, x: Clips) -> Clips:
        x = keep_apart(x, self.branch2.gap)
        shortcut = self.branch1_bn(self.branch1(x)) if hasattr(self, "branch1") else x
        branch = self.branch2(x)
        inplace = self.relu.inplace and not torch.is_grad_enabled()
        return self.relu(branch.add_(shortcut) if inplace else shortcut + branch)


class ResStage(nn.Module):
    """The blocks of one stage for every pathway, `pathway{p}_res{i}`, and non-local ones, `pathway{p}_nonlocal{i}`."""

    def __init__(self, spec: StageSpec, *, trans_func: str, norm: Norm, inplace_relu: bool) -> None:
        super().__init__()
        self.num_blocks = len(spec.temporal_kernels[0])
        nonlocal_specs = {(behind.pathway, behind.index): behind for behind in spec.nonlocal_blocks}
        for pathway in range(len(spec.dim_out)):
            for block in spec.blocks(pathway):
                layer = ResBlock(block, trans_func=trans_func, norm=norm, inplace_relu=inplace_relu)
                self.add_module(f"pathway{pathway}_res{block.index}", layer)
                behind = nonlocal_specs.get((pathway, block.index))
                if behind is not None:
                    self.add_module(behind.name, Nonlocal(behind, norm=norm))

    def forward(self, pathways: list[Clips]) -> list[Clips]:
        out = []
        for pathway, x in enumerate(pathways):
            for index in range(self.num_blocks):
                for name in (f"pathway{pathway}_res{index}", f"pathway{pathway}_nonlocal{index}"):
                    if name in self._modules:
                        x = self._modules[name](x)
            out.append(x)
        return out
