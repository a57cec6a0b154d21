"""Temporal attention: gather a clip's maps into a few descriptors, and give each map a mixture of them.

It is the baseline of Table A.6 in the supplement of SGS (Fayyaz et al., CVPR 2021), after the double attention networks
of Chen et al., A^2-Nets, NeurIPS 2018. The supplement says that it weighs features, after res2 of X3D-S, at
almost no cost; the release's layer pools, has C / 4 descriptors, and multiplies. `gate` follows both. The rest is our
choice: it attends to the spatial means, a descriptor is a vector of C / 4 values, and the mixture gives a factor
between 0 and 2 for each channel of a map, which starts at one.

`residual` is a lighter A^2-Nets block:

- Whole temporal maps (C, H, W) attend, not each of their H W positions, and a descriptor is such a map.
- A map's scores come from its spatial means, by one linear layer for each of the two steps.
- A^2-Nets has a 1x1x1 convolution before gathering and one after distributing. Both are linear within a position, and
  the steps between them mix time only, so they commute: here they are one, of the K descriptors instead of T maps.
- The norm follows that convolution. Distribution weights sum to one, so after the mixture its scale and shift would be
  the same. Its weight starts at zero with RESNET.ZERO_INIT_FINAL_BN, as in every residual branch: the network then
  starts as the one without attention, and can load its weights.
"""

from collections.abc import Mapping

import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from slowfast_atfr.models.norm import Norm
from slowfast_atfr.packed import Clips, PackedClips, pack_dense, per_length, to_dense


def gather(maps: Tensor, scores: Tensor) -> Tensor:
    """The K descriptors of each clip: weighted sums of its maps, by a softmax of the scores over time.

    Args:
        maps: (N, C, T, H, W), without a copy in channels_last_3d.
        scores: (N, K, T), of each map for each descriptor.
    Returns:
        (N, C, K, H, W), channels_last_3d.
    Source: Chen et al., NeurIPS 2018, the first attention step, with a temporal map instead of a position.
    """
    return _mix(scores.softmax(2), maps)


def distribute(descriptors: Tensor, scores: Tensor) -> Tensor:
    """The mixture for each of T maps: weighted sums of its clip's descriptors, by a softmax of the scores over them.

    Args:
        descriptors: (N, C, K, H, W), without a copy in channels_last_3d.
        scores: (N, K, T), of each descriptor for each map.
    Returns:
        (N, C, T, H, W), channels_last_3d.
    Source: Chen et al., NeurIPS 2018, the second attention step, with a temporal map instead of a position.
    """
    return _mix(scores.softmax(1).mT, descriptors)


def _mix(weights: Tensor, maps: Tensor) -> Tensor:
    """weights (N, M, T), maps (N, C, T, H, W) -> (N, C, M, H, W): M weighted sums over T, one matrix product a clip."""
    frames = maps.permute(0, 2, 3, 4, 1)
    mixed = weights @ frames.flatten(2)
    return mixed.unflatten(2, frames.shape[2:]).permute(0, 4, 1, 2, 3)


class TemporalGate(nn.Module):
    """x * 2 sigmoid(conv_gate(distribute(gather(conv_value(means))))): (N, C, T, H, W), dense or packed, to the same.

    A clip attends to its own maps only, of any number; their order does not matter. Maps with the same means
    get the same factors.

    Args:
        channels: C.
        num_descriptors: K.
        norm: not used.
    """

    def __init__(self, channels: int, num_descriptors: int, *, norm: Norm) -> None:
        super().__init__()
        values = _quarter(channels)
        self.conv_gather = nn.Conv3d(channels, num_descriptors, 1, bias=False)  # softmax over time cancels a bias
        self.conv_distribute = nn.Conv3d(channels, num_descriptors, 1)
        self.conv_value = nn.Conv3d(channels, values, 1, bias=False)
        self.conv_gate = nn.Conv3d(values, channels, 1)
        self.start_at_one()

    def start_at_one(self) -> None:
        """Set conv_gate to zero: every factor is one, and the network is the one without attention."""
        nn.init.zeros_(self.conv_gate.weight)
        nn.init.zeros_(self.conv_gate.bias)

    def forward(self, x: Clips) -> Clips:
        means = x.mean((3, 4), keepdim=True)  # (N, C, T, 1, 1)
        gathered = _gather(self.conv_value(means), self.conv_gather(means))
        mixed = _distribute(gathered, self.conv_distribute(means))
        return x * (2 * torch.sigmoid(self.conv_gate(mixed)))

    def product_macs(self, frames: int, *_: int) -> int:
        """Return the multiply-adds of `gather` and `distribute` for a clip, whose maps are means here."""
        return 2 * frames * self.conv_value.out_channels * self.conv_gather.out_channels


class TemporalAttention(nn.Module):
    """x + distribute(bn(conv_value(gather(x)))): (N, C, T, H, W), dense or packed, to the same.

    A clip attends to its own maps only, of any number; their order does not matter.

    Args:
        channels: C.
        num_descriptors: K.
        norm: as everywhere in the network.
    """

    def __init__(self, channels: int, num_descriptors: int, *, norm: Norm) -> None:
        super().__init__()
        self.conv_gather = nn.Conv3d(channels, num_descriptors, 1, bias=False)  # softmax over time cancels a bias
        self.conv_distribute = nn.Conv3d(channels, num_descriptors, 1)
        self.conv_value = nn.Conv3d(channels, channels, 1, bias=False)
        self.bn = norm(channels)

    @property
    def final_bn(self) -> nn.Module:
        """The norm whose weight RESNET.ZERO_INIT_FINAL_BN starts at zero."""
        return self.bn

    def forward(self, x: Clips) -> Clips:
        means = x.mean((3, 4), keepdim=True)  # (N, C, T, 1, 1)
        descriptors = self.bn(self.conv_value(_gather(x, self.conv_gather(means))))
        return x + _distribute(descriptors, self.conv_distribute(means))

    def product_macs(self, frames: int, height: int, width: int) -> int:
        """Return the multiply-adds of `gather` and `distribute` for a clip of (height, width) maps."""
        channels = self.conv_value.in_channels + self.conv_value.out_channels
        return frames * height * width * channels * self.conv_gather.out_channels


KINDS = {"gate": TemporalGate, "residual": TemporalAttention}  # by TEMPORAL_ATTENTION.KIND


def _gather(x: Clips, scores: Clips) -> Tensor:
    """`gather` for each clip: K descriptors per clip, so the result is dense."""
    return to_dense(per_length(x, lambda maps, scores: gather(maps, scores.flatten(2)), scores))


def _distribute(descriptors: Tensor, scores: Clips) -> Clips:
    """`distribute` for each clip, packed where the scores are."""
    given = pack_dense(descriptors) if isinstance(scores, PackedClips) else descriptors
    return per_length(scores, lambda scores, maps: distribute(maps, scores.flatten(2)), given)


def _quarter(channels: int) -> int:
    return max(1, channels // 4)


class PathwayAttention(nn.Module):
    """Temporal attention after one stage, separately for each pathway, `pathway{p}`.

    Args:
        kind: of KINDS.
        channels: C of every pathway.
        num_descriptors: K; 0 is a quarter of a pathway's channels.
        norm: as everywhere in the network.
    """

    def __init__(self, kind: str, channels: tuple[int, ...], num_descriptors: int, *, norm: Norm) -> None:
        super().__init__()
        for pathway, dim in enumerate(channels):
            self.add_module(f"pathway{pathway}", KINDS[kind](dim, num_descriptors or _quarter(dim), norm=norm))

    def forward(self, pathways: list[Clips]) -> list[Clips]:
        return [attend(x) for attend, x in zip(self.children(), pathways, strict=True)]


def attention_after(cfg: CfgNode, channels: Mapping[str, tuple[int, ...]], norm: Norm) -> dict[str, PathwayAttention]:
    """Build the layers of TEMPORAL_ATTENTION.STAGES.

    Args:
        cfg: a validated config.
        channels: channels of each pathway after each stage.
        norm: as everywhere in the network.
    Returns:
        a layer for each stage; empty if temporal attention is not enabled.
    """
    attention = cfg.TEMPORAL_ATTENTION
    stages = attention.STAGES if attention.ENABLE else []
    kind, descriptors = attention.KIND, attention.NUM_DESCRIPTORS
    return {stage: PathwayAttention(kind, channels[stage], descriptors, norm=norm) for stage in stages}
