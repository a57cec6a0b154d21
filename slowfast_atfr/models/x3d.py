"""X3D: thin networks, expanded step by step from a tiny one in width, depth, frames and pixels.

Source: Feichtenhofer, X3D: Expanding Architectures for Efficient Video Recognition, CVPR 2020; parameter names, shapes
and config keys are PySlowFast's. Its residual blocks are X3DTransform, in transforms.py.
"""

import math
from typing import Any

from fvcore.common.config import CfgNode
from torch import Tensor, nn

from slowfast_atfr.config import ConfigError
from slowfast_atfr.models.build import MODEL_REGISTRY
from slowfast_atfr.models.convolution import TemporalConv3d
from slowfast_atfr.models.head import Head
from slowfast_atfr.models.norm import Norm
from slowfast_atfr.models.stages import StageSpec, StemSpec, round_width
from slowfast_atfr.models.video_resnet import VideoResNet
from slowfast_atfr.packed import Clips

STEM_KERNEL, BLOCK_KERNEL = 5, 3  # temporal, of the stem and of every block
BLOCKS = (1, 2, 5, 3)  # of res2 .. res5 before X3D.DEPTH_FACTOR
STRIDE = 2  # spatial, of every stage


def x3d_stem_spec(cfg: CfgNode) -> StemSpec:
    """The stem: X3D.DIM_C1 channels, times X3D.WIDTH_FACTOR."""
    dim = round_width(cfg.X3D.DIM_C1 * cfg.X3D.WIDTH_FACTOR)
    return StemSpec(tuple(cfg.DATA.INPUT_CHANNEL_NUM), (dim,), (STEM_KERNEL,))


def x3d_stage_specs(cfg: CfgNode) -> list[StageSpec]:
    """The stages res2 .. res5: each is twice as wide as the one before, and wider inside by X3D.BOTTLENECK_FACTOR.

    Raises:
        ConfigError: if convolutions are not channelwise and RESNET.NUM_GROUPS does not divide their channels.
    """
    specs, dim_in = [], x3d_stem_spec(cfg).dim_out
    width = cfg.X3D.DIM_C1  # before X3D.WIDTH_FACTOR
    for index, blocks in enumerate(BLOCKS):
        if index > 0 or cfg.X3D.SCALE_RES2:
            width = round_width(2 * width, divisor=8)
        dim_out = round_width(width * cfg.X3D.WIDTH_FACTOR)
        dim_inner = max(1, int(dim_out * cfg.X3D.BOTTLENECK_FACTOR))
        num_groups = dim_inner if cfg.X3D.CHANNELWISE_3x3x3 else cfg.RESNET.NUM_GROUPS
        if dim_inner % num_groups:
            raise ConfigError(
                f"RESNET.NUM_GROUPS is {num_groups}, which does not divide the {dim_inner} channels inside the blocks "
                f"of res{index + 2}; choose a divisor, or X3D.CHANNELWISE_3x3x3 True"
            )
        specs.append(
            StageSpec(
                dim_in=dim_in,
                dim_inner=(dim_inner,),
                dim_out=(dim_out,),
                temporal_kernels=((BLOCK_KERNEL,) * math.ceil(blocks * cfg.X3D.DEPTH_FACTOR),),
                stride=(STRIDE,),
                dilation=tuple(cfg.RESNET.SPATIAL_DILATIONS[index]),
                num_groups=num_groups,
                stride_1x1=cfg.RESNET.STRIDE_1X1,
            )
        )
        dim_in = (dim_out,)
    return specs


class X3DStem(nn.Module):
    """conv 1x3x3 / 2, channelwise conv tx1x1, norm, ReLU: (N, 3, T, H, W) -> (N, dim_out, T, H/2, W/2)."""

    def __init__(self, dim_in: int, dim_out: int, *, temporal_kernel: int, norm: Norm, inplace_relu: bool) -> None:
        super().__init__()
        padding = (temporal_kernel // 2, 0, 0)
        self.conv_xy = nn.Conv3d(dim_in, dim_out, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False)
        self.conv = TemporalConv3d(dim_out, dim_out, (temporal_kernel, 1, 1), 1, padding, groups=dim_out, bias=False)
        self.bn = norm(dim_out)
        self.relu = nn.ReLU(inplace=inplace_relu)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(self.conv_xy(x))))


class X3DHead(Head):
    """Class scores of one pathway: widen to dim_inner channels, pool, widen to dim_out, classify.

    Args:
        dim_in, dim_inner, dim_out: channels of the last stage, of conv_5, and of lin_5 (X3D.DIM_C5).
        num_classes: classes.
        norm, inplace_relu: as everywhere in the network.
        bn_lin5: whether lin_5 has a norm as well (X3D.BN_LIN5).
        options: those of Head.
    """

    def __init__(
        self,
        dim_in: int,
        dim_inner: int,
        dim_out: int,
        num_classes: int,
        *,
        norm: Norm,
        inplace_relu: bool,
        bn_lin5: bool,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.conv_5 = nn.Conv3d(dim_in, dim_inner, 1, bias=False)
        self.conv_5_bn = norm(dim_inner)
        self.conv_5_relu = nn.ReLU(inplace=inplace_relu)
        self.lin_5 = nn.Conv3d(dim_inner, dim_out, 1, bias=False)
        self.lin_5_bn = norm(dim_out) if bn_lin5 else nn.Identity()
        self.lin_5_relu = nn.ReLU(inplace=inplace_relu)
        self.projection = nn.Linear(dim_out, num_classes)

    def forward(self, pathways: list[Clips]) -> Tensor:
        """[(N, C, T, H, W)] -> (N, num_classes)."""
        (x,) = pathways
        maps = self.pool([self.conv_5_relu(self.conv_5_bn(self.conv_5(x)))])
        return self.classify(self.lin_5_relu(self.lin_5_bn(self.lin_5(maps))))


@MODEL_REGISTRY.register()
class X3D(VideoResNet):
    """One thin pathway, all of it 3x3x3 channelwise (Feichtenhofer, CVPR 2020)."""

    archs = ("x3d",)
    stem_kind = X3DStem

    @classmethod
    def specs(cls, cfg: CfgNode) -> tuple[StemSpec, list[StageSpec]]:
        return x3d_stem_spec(cfg), x3d_stage_specs(cfg)

    def make_head(self, cfg: CfgNode, last: StageSpec, norm: Norm, **options: Any) -> Head:
        return X3DHead(
            *(last.dim_out[0], last.dim_inner[0], cfg.X3D.DIM_C5, cfg.MODEL.NUM_CLASSES),
            norm=norm,
            inplace_relu=cfg.RESNET.INPLACE_RELU,
            bn_lin5=cfg.X3D.BN_LIN5,
            **options,
        )
