"""Small 3D CNNs as other libraries write them, from their papers: they know nothing of packed clips or SGS.

Each is a few layers wide and keeps what matters here: how time is strided, pooled, gated and reduced.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

CLASSES = 5


def conv(inner: int, outer: int, kernel=3, stride=1, groups: int = 1, act: Callable = nn.ReLU) -> nn.Sequential:
    """Convolution that keeps the size, norm, activation."""
    kernel = (kernel,) * 3 if isinstance(kernel, int) else kernel
    padding = tuple(size // 2 for size in kernel)
    layers = [nn.Conv3d(inner, outer, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm3d(outer)]
    return nn.Sequential(*layers, act())


def factored(inner: int, outer: int, stride: int = 1, act: Callable = nn.ReLU) -> nn.Sequential:
    """(2+1)D: 1xkxk in space, then kx1x1 in time."""
    return nn.Sequential(
        conv(inner, outer, (1, 3, 3), (1, stride, stride)), conv(outer, outer, (3, 1, 1), (stride, 1, 1), act=act)
    )


class Residual(nn.Module):
    """Two convolutions and a shortcut, with a projection where the shape changes."""

    def __init__(self, inner: int, outer: int, stride: int, make: Callable) -> None:
        super().__init__()
        self.conv1, self.conv2 = make(inner, outer, stride=stride), make(outer, outer, act=nn.Identity)
        self.downsample = None if stride == 1 else conv(inner, outer, 1, stride, act=nn.Identity)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.conv2(self.conv1(x))
        out += shortcut
        return self.relu(out)


class VideoResNet(nn.Module):
    """R3D and R(2+1)D (Tran et al., CVPR 2018), with torchvision's names: layer2 on strides time by 2."""

    def __init__(self, make: Callable) -> None:
        super().__init__()
        self.stem = conv(3, 8, (3, 7, 7), (1, 2, 2))
        self.layer1 = nn.Sequential(Residual(8, 8, 1, make), Residual(8, 8, 1, make))
        self.layer2 = nn.Sequential(Residual(8, 12, 2, make), Residual(12, 12, 1, make))
        self.layer3 = nn.Sequential(Residual(12, 16, 2, make))
        self.avgpool = nn.AdaptiveAvgPool3d((1, 1, 1))
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.fc(self.avgpool(x).flatten(1))


class Bottleneck(nn.Module):
    """CSN (Tran et al., ICCV 2019): all that looks across time is a depthwise 3x3x3 convolution."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv_a = conv(channels, width, 1)
        self.conv_b = conv(width, width, 3, stride, groups=width)
        self.conv_c = conv(width, channels, 1, act=nn.Identity)
        self.shortcut = nn.AvgPool3d(1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv_c(self.conv_b(self.conv_a(x))) + self.shortcut(x))


class ProjectionHead(nn.Module):
    """pytorchvideo's: pool space, classify every position in channels-last order, then average the positions."""

    def __init__(self, channels: int, pool: nn.Module) -> None:
        super().__init__()
        self.pool, self.proj, self.output_pool = pool, nn.Linear(channels, CLASSES), nn.AdaptiveAvgPool3d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(x).permute((0, 2, 3, 4, 1))
        x = self.proj(x).permute((0, 4, 1, 2, 3))
        x = self.output_pool(x)
        return x.view(x.shape[0], -1)


class Blocks(nn.Module):
    """pytorchvideo's Net: blocks in a ModuleList, the head last."""

    def __init__(self, *blocks: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


def csn() -> nn.Module:
    stem = conv(3, 8, (3, 7, 7), (1, 2, 2))
    return Blocks(stem, Bottleneck(8, 6, 1), Bottleneck(8, 6, 2), ProjectionHead(8, nn.AvgPool3d((1, 4, 4), 1)))


class Inception(nn.Module):
    """I3D (Carreira and Zisserman, CVPR 2017): four branches, one behind an overlapping max pool, concatenated."""

    def __init__(self, inner: int, make: Callable, gate: Callable = nn.Identity) -> None:
        super().__init__()
        self.branch0 = conv(inner, 4, 1)
        self.branch1 = nn.Sequential(conv(inner, 3, 1), make(3, 4))
        self.branch2 = nn.Sequential(conv(inner, 3, 1), make(3, 4))
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), conv(inner, 4, 1))
        self.gates = nn.ModuleList(gate() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        branches = self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)
        return torch.cat([gate(branch) for gate, branch in zip(self.gates, branches, strict=True)], 1)


class SelfGating(nn.Module):
    """S3D-G (Xie et al., ECCV 2018): channels weighed by the mean over the whole clip."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.sigmoid(self.fc(torch.mean(x, [2, 3, 4])))
        return x * weights[:, :, None, None, None]


class InceptionNet(nn.Module):
    """Max pools of stride 2 that overlap in time, and a head that slides 2 frames wide before it averages."""

    def __init__(self, make: Callable, gate: Callable = nn.Identity) -> None:
        super().__init__()
        self.stem = make(3, 8, stride=2)
        self.maxpool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.mixed_3b = Inception(8, make, gate)
        self.pool_4a = nn.MaxPool3d(3, 2, 1)
        self.mixed_4b = Inception(16, make, gate)
        self.avgpool = nn.AvgPool3d((2, 4, 4), stride=1)
        self.logits = nn.Sequential(nn.Dropout(0.0), nn.Conv3d(16, CLASSES, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.mixed_4b(self.pool_4a(self.mixed_3b(self.maxpool(self.stem(x)))))
        return torch.mean(self.logits(self.avgpool(x)), dim=(2, 3, 4))


class SwishFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        sigmoid = torch.sigmoid(x)
        return grad * sigmoid * (1 + x * (1 - sigmoid))


class Swish(nn.Module):
    """As pytorchvideo and PySlowFast have it: an autograd Function, called where no one can see it."""

    def forward(self, x: Tensor) -> Tensor:
        return SwishFunction.apply(x)


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(channels, 4), nn.ReLU(), nn.Linear(4, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        num_clips, channels, _, _, _ = x.size()
        gate = self.fc(nn.functional.adaptive_avg_pool3d(x, 1).view(num_clips, channels))
        return x * gate.view(num_clips, channels, 1, 1, 1).expand_as(x)


class InvertedResidual(nn.Module):
    """X3D (Feichtenhofer, CVPR 2020): expand, depthwise 3x3x3, squeeze and excite, swish, project."""

    def __init__(self, inner: int, outer: int, stride: tuple, act: Callable) -> None:
        super().__init__()
        self.expand = conv(inner, 12, 1)
        self.depthwise = conv(12, 12, 3, stride, groups=12, act=nn.Identity)
        self.se, self.act = SqueezeExcitation(12), act()
        self.project = conv(12, outer, 1, act=nn.Identity)
        self.shortcut = conv(inner, outer, 1, stride, act=nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.act(self.se(self.depthwise(self.expand(x)))))
        return torch.relu(out + self.shortcut(x))


def x3d(act: Callable = Swish) -> nn.Module:
    stem = nn.Sequential(conv(3, 8, (1, 3, 3), (1, 2, 2), act=nn.Identity), conv(8, 8, (5, 1, 1), groups=8))
    head = nn.Sequential(conv(8, 12, 1), nn.AvgPool3d((12, 4, 4), 1), nn.Conv3d(12, 16, 1), nn.ReLU())
    blocks = InvertedResidual(8, 8, (1, 1, 1), act), InvertedResidual(8, 8, (1, 2, 2), act)
    return Blocks(stem, *blocks, ProjectionHead(16, head))


# name -> the network, and a submodule behind which SGS may stand
NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "r3d": (lambda: VideoResNet(conv), "layer1"),
    "r2plus1d": (lambda: VideoResNet(factored), "layer1"),
    "csn": (csn, "blocks.1"),
    "i3d": (lambda: InceptionNet(conv), "stem"),
    "s3d_g": (lambda: InceptionNet(factored, SelfGating), "stem"),
    "x3d": (x3d, "blocks.1"),
}
