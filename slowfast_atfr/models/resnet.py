"""Residual blocks and stages, for dense tensors and packed clips alike. Parameter names are PySlowFast's."""

from collections.abc import Callable

from torch import Tensor, nn

from slowfast_atfr.models.stages import StageSpec
from slowfast_atfr.packed import PackedClips

Norm = Callable[[int], nn.Module]
Clips = Tensor | PackedClips


class BottleneckTransform(nn.Module):
    """conv Tx1x1 -> 1x3x3 -> 1x1x1, each with norm, and ReLU between: (N, C, T, H, W) -> (N, C', T, H/s, W/s)."""

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        dim_inner: int,
        *,
        temporal_kernel: int,
        stride: int,
        dilation: int,
        num_groups: int,
        norm: Norm,
        stride_1x1: bool,
        inplace_relu: bool,
    ) -> None:
        super().__init__()
        first, middle = (stride, 1) if stride_1x1 else (1, stride)
        padding = (temporal_kernel // 2, 0, 0)
        self.a = nn.Conv3d(dim_in, dim_inner, (temporal_kernel, 1, 1), (1, first, first), padding, bias=False)
        self.a_bn = norm(dim_inner)
        self.a_relu = nn.ReLU(inplace=inplace_relu)
        self.b = nn.Conv3d(
            dim_inner,
            dim_inner,
            (1, 3, 3),
            stride=(1, middle, middle),
            padding=(0, dilation, dilation),
            dilation=(1, dilation, dilation),
            groups=num_groups,
            bias=False,
        )
        self.b_bn = norm(dim_inner)
        self.b_relu = nn.ReLU(inplace=inplace_relu)
        self.c = nn.Conv3d(dim_inner, dim_out, 1, bias=False)
        self.c_bn = norm(dim_out)

    @property
    def final_bn(self) -> nn.Module:
        """The norm whose weight RESNET.ZERO_INIT_FINAL_BN starts at zero."""
        return self.c_bn

    def forward(self, x: Clips) -> Clips:
        x = self.a_relu(self.a_bn(self.a(x)))
        x = self.b_relu(self.b_bn(self.b(x)))
        return self.c_bn(self.c(x))


class BasicTransform(nn.Module):
    """conv Tx3x3 -> 1x3x3, each with norm, and ReLU between: (N, C, T, H, W) -> (N, C', T, H/s, W/s)."""

    def __init__(
        self, dim_in: int, dim_out: int, *, temporal_kernel: int, stride: int, norm: Norm, inplace_relu: bool
    ) -> None:
        super().__init__()
        padding = (temporal_kernel // 2, 1, 1)
        self.a = nn.Conv3d(dim_in, dim_out, (temporal_kernel, 3, 3), (1, stride, stride), padding, bias=False)
        self.a_bn = norm(dim_out)
        self.a_relu = nn.ReLU(inplace=inplace_relu)
        self.b = nn.Conv3d(dim_out, dim_out, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.b_bn = norm(dim_out)

    @property
    def final_bn(self) -> nn.Module:
        """The norm whose weight RESNET.ZERO_INIT_FINAL_BN starts at zero."""
        return self.b_bn

    def forward(self, x: Clips) -> Clips:
        return self.b_bn(self.b(self.a_relu(self.a_bn(self.a(x)))))


class ResBlock(nn.Module):
    """ReLU(shortcut(x) + transform(x)); the shortcut is a 1x1x1 convolution where channels or stride change."""

    def __init__(self, dim_in: int, dim_out: int, *, stride: int, transform: nn.Module, norm: Norm) -> None:
        super().__init__()
        if dim_in != dim_out or stride != 1:
            self.branch1 = nn.Conv3d(dim_in, dim_out, 1, stride=(1, stride, stride), bias=False)
            self.branch1_bn = norm(dim_out)
        self.branch2 = transform
        self.relu = nn.ReLU(inplace=transform.a_relu.inplace)

    def forward(self, x: Clips) -> Clips:
        shortcut = self.branch1_bn(self.branch1(x)) if hasattr(self, "branch1") else x
        return self.relu(shortcut + self.branch2(x))


class ResStage(nn.Module):
    """The blocks of one stage for every pathway, `pathway{p}_res{i}`."""

    def __init__(self, spec: StageSpec, *, trans_func: str, norm: Norm, stride_1x1: bool, inplace_relu: bool) -> None:
        super().__init__()
        self.num_blocks = len(spec.temporal_kernels[0])
        for pathway, kernels in enumerate(spec.temporal_kernels):
            dim_in, dim_out = spec.dim_in[pathway], spec.dim_out[pathway]
            for index, kernel in enumerate(kernels):
                stride = spec.stride[pathway] if index == 0 else 1
                shared = {"temporal_kernel": kernel, "stride": stride, "norm": norm, "inplace_relu": inplace_relu}
                if trans_func == "basic_transform":
                    transform: nn.Module = BasicTransform(dim_in, dim_out, **shared)
                else:
                    transform = BottleneckTransform(
                        dim_in,
                        dim_out,
                        spec.dim_inner[pathway],
                        dilation=spec.dilation[pathway],
                        num_groups=spec.num_groups,
                        stride_1x1=stride_1x1,
                        **shared,
                    )
                block = ResBlock(dim_in, dim_out, stride=stride, transform=transform, norm=norm)
                self.add_module(f"pathway{pathway}_res{index}", block)
                dim_in = dim_out

    def forward(self, pathways: list[Clips]) -> list[Clips]:
        out = []
        for pathway, x in enumerate(pathways):
            for index in range(self.num_blocks):
                x = getattr(self, f"pathway{pathway}_res{index}")(x)
            out.append(x)
        return out
