"""More small 3D CNNs as others write them, each around an idiom that asks for more than sums and convolutions.

Written from their papers; SGS stands behind `stem`.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.foreign import CLASSES, conv


class Features(nn.Module):
    """A stem, stages, the older head: a pool of the whole clip by its size, and a view."""

    def __init__(self, *stages: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.stem = conv(3, 8, (3, 7, 7), (1, 2, 2))
        self.stages, self.fc = nn.Sequential(*stages), nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))
        x = F.avg_pool3d(x, x.data.size()[-3:])
        return self.fc(x.view(x.size(0), -1))


class DenseLayer(nn.Module):
    def __init__(self, inner: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm3d(inner), nn.Conv3d(inner, 4, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.conv(F.relu(self.norm(x)))], 1)


def densenet() -> nn.Module:
    """Two average pools of stride 2 in time, beyond which some clips have a single frame (Huang et al., CVPR 2017)."""
    transitions = (nn.Sequential(nn.Conv3d(12, 8, 1), nn.AvgPool3d(2, 2)) for _ in range(3))
    return Features(*(layer for pool in transitions for layer in (DenseLayer(8), pool)))


class ShortcutA(nn.Module):
    """A residual block whose shortcut has no parameters: zeros for the new channels (He et al., CVPR 2016)."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(inner, outer, stride=stride), conv(outer, outer, act=nn.Identity)
        self.outer, self.stride = outer, stride

    def forward(self, x: Tensor) -> Tensor:
        y = F.avg_pool3d(x, kernel_size=1, stride=self.stride)
        zeros = torch.zeros(y.size(0), self.outer - y.size(1), y.size(2), y.size(3), y.size(4), dtype=y.dtype)
        if isinstance(y.data, torch.cuda.FloatTensor):
            zeros = zeros.cuda()
        return F.relu(self.conv2(self.conv1(x)) + torch.cat([y.data, zeros], dim=1))


class ShuffleUnit(nn.Module):
    """Half of the channels pass, the other half are convolved, and then they are shuffled (Ma et al., ECCV 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(conv(4, 4, 1), conv(4, 4, 3, groups=4, act=nn.Identity), conv(4, 4, 1))

    def forward(self, x: Tensor) -> Tensor:
        kept, changed = x[:, :4, :, :, :], x[:, 4:, :, :, :]
        x = torch.cat((kept, self.branch(changed)), 1)
        n, c, d, h, w = x.data.size()
        return x.view(n, 2, c // 2, d, h, w).permute(0, 2, 1, 3, 4, 5).contiguous().view(n, c, d, h, w)


class Attention(nn.Module):
    """Of channels by average and largest values, then of places by the same over channels (Woo et al., ECCV 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.conv = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8)), nn.Conv3d(2, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        pools = (pool(x, x.size()[2:]) for pool in (F.avg_pool3d, F.max_pool3d))
        gate = torch.sigmoid(sum(self.fc(pool.view(x.size(0), -1)) for pool in pools))
        x = x * gate.unsqueeze(2).unsqueeze(3).unsqueeze(4).expand_as(x)
        maps = torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)
        return x * torch.sigmoid(self.conv(maps))


class UNet(nn.Module):
    """Down by strides and up to the size of the skip connection (Cicek et al., MICCAI 2016)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.up = conv(3, 8, 3, (1, 2, 2)), conv(8, 8, 3, 2), conv(16, 4)
        self.head = nn.Conv3d(4, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = self.stem(x)
        x = F.interpolate(self.down(skip), size=skip.shape[2:], mode="trilinear", align_corners=False)
        x = self.up(torch.cat([skip, x], dim=1))
        return self.head(x).flatten(2).mean(2)


class TwoDimensional(nn.Module):
    """A 2-D convolution of all frames in a row, with a shift of none of them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        n, c, t, h, w = x.shape
        y = self.bn(self.conv(x.transpose(1, 2).reshape(n * t, c, h, w)))
        return x + F.relu(y).view(n, t, c, h, w).transpose(1, 2)


def tensorflow_pads(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's "same" padding of one dimension, before and after, from the number of its values."""
    results = math.ceil(float(size) / float(stride))
    total = max((results - 1) * stride + kernel - int(size), 0)
    return total // 2, total - total // 2


class SamePool(nn.MaxPool3d):
    """I3D's pools (Carreira and Zisserman, CVPR 2017), as its PyTorch ports pad them."""

    def forward(self, x: Tensor) -> Tensor:
        pads = [pad for size in reversed(x.shape[2:]) for pad in tensorflow_pads(size, self.kernel_size, self.stride)]
        return super().forward(F.pad(x, pads))


class SamePadding(nn.Module):
    """I3D's convolutions."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.conv3d, self.bn = nn.Conv3d(inner, outer, kernel, stride, bias=False), nn.BatchNorm3d(outer)

    def forward(self, x: Tensor) -> Tensor:
        pads = [pad for size in reversed(x.shape[2:]) for pad in tensorflow_pads(size, self.kernel, self.stride)]
        return F.relu(self.bn(self.conv3d(F.pad(x, pads))))


def separable(inner: int, outer: int, stride=1) -> nn.Sequential:
    """MobileNet (Howard et al., 2017), each filter in three dimensions: one for each channel, then 1 x 1 x 1."""
    return nn.Sequential(conv(inner, inner, 3, stride, groups=inner), conv(inner, outer, 1))


class LinearBottleneck(nn.Module):
    """MobileNetV2 (Sandler et al., CVPR 2018): expand, one filter for each channel, project; no activation after."""

    def __init__(self, inner: int, outer: int, stride=1) -> None:
        super().__init__()
        wide = 2 * inner
        layers = conv(inner, wide, 1, act=nn.ReLU6), conv(wide, wide, 3, stride, groups=wide, act=nn.ReLU6)
        self.conv = nn.Sequential(*layers, conv(wide, outer, 1, act=nn.Identity))
        self.use_res_connect = stride in (1, (1, 1, 1)) and inner == outer

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class Fire(nn.Module):
    """SqueezeNet (Iandola et al., 2016): squeeze, then filters of 1 and 3 side by side, with a shortcut."""

    def __init__(self, inner: int, squeezed: int, outer: int) -> None:
        super().__init__()
        self.squeeze = conv(inner, squeezed, 1)
        self.expand1x1, self.expand3x3 = conv(squeezed, outer // 2, 1), conv(squeezed, outer // 2, 3)
        self.use_bypass = inner == outer

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.squeeze(x)
        out = torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], 1)
        return F.relu(out + x if self.use_bypass else out)


class SqueezeNet(nn.Module):
    """Pools that strike out the rest of a division (ceil_mode), and a head that is a convolution and a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8, 3, (1, 2, 2))
        pools = (nn.MaxPool3d(3, (1, 2, 2), 1), nn.MaxPool3d((1, 3, 3), (1, 2, 2), ceil_mode=True))
        self.features = nn.Sequential(pools[0], Fire(8, 4, 8), Fire(8, 4, 12), pools[1], Fire(12, 4, 12))
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Conv3d(12, CLASSES, 1), nn.ReLU(), nn.AdaptiveAvgPool3d(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(self.stem(x))).view(x.size(0), -1)


class Causal(nn.Module):
    """MoViNet (Kondratyuk et al., CVPR 2021): space, then time, padded before clips only; gates by means so far."""

    def __init__(self, channels: int, wide: int) -> None:
        super().__init__()
        self.expand, self.project = conv(channels, wide, 1, act=nn.Hardswish), conv(wide, channels, 1, act=nn.Identity)
        self.space = conv(wide, wide, (1, 3, 3), groups=wide, act=nn.Hardswish)
        self.time = nn.Conv3d(wide, wide, (3, 1, 1), groups=wide, bias=False)
        self.reduce, self.gate = nn.Conv3d(2 * wide, 4, 1), nn.Conv3d(4, wide, 1)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.space(self.expand(x))
        y = self.time(F.pad(y, (0, 0, 0, 0, 2, 0)))
        of_frame = y.mean((3, 4), keepdim=True)
        so_far = torch.cumsum(of_frame, dim=2) / torch.cumsum(torch.ones_like(of_frame), dim=2)
        gate = self.gate(F.hardswish(self.reduce(torch.cat([so_far, of_frame], 1))))
        return x + self.scale * self.project(y * F.hardsigmoid(gate))


IDIOMS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "densenet": (densenet, "stem"),
    "resnet, shortcut A": (lambda: Features(ShortcutA(8, 12, 2), ShortcutA(12, 16, 1), width=16), "stem"),
    "shufflenet": (lambda: Features(ShuffleUnit(), nn.AvgPool3d(2, 2), ShuffleUnit()), "stem"),
    "cbam": (lambda: Features(conv(8, 8), Attention()), "stem"),
    "mobilenet": (lambda: Features(separable(8, 12, (1, 2, 2)), separable(12, 16, 2), width=16), "stem"),
    "mobilenet v2": (lambda: Features(LinearBottleneck(8, 8), LinearBottleneck(8, 12, 2), width=12), "stem"),
    "squeezenet": (SqueezeNet, "stem"),
    "movinet": (lambda: Features(Causal(8, 12), Causal(8, 12)), "stem"),
    "u-net": (UNet, "stem"),
    "i3d, same padding": (
        lambda: Features(
            SamePadding(8, 8, 3), SamePool(3, 2), SamePadding(8, 12, 3, 2), SamePadding(12, 8, 1), width=8
        ),
        "stem",
    ),
    "2-D convolutions": (lambda: Features(TwoDimensional()), "stem"),
}
