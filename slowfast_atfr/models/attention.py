"""Temporal attention: a clip's maps are gathered into a few descriptors, and each map gets a mixture of them back.

It is the baseline of Table A.6 in the supplement of SGS (Fayyaz et al., CVPR 2021), after the double attention networks
of Chen et al., A^2-Nets, NeurIPS 2018. The supplement has it behind res2 of X3D-S, over temporal maps, at next to no
cost. The rest are our decisions, for the lightest layer of that kind:

- What attends is a whole temporal map (C, H, W), not each of its H W positions, and a descriptor is such a map.
- A map's scores come from its spatial means, by one linear layer for each of the two steps.
- A^2-Nets has a 1x1x1 convolution of what is gathered and one of what is distributed. Both are linear and look at a
  position alone, as the steps between them look at time alone, so they change places: here they are one, applied to the
  K descriptors in the place of T maps.
- The norm stands behind that convolution. Weights that distribute sum to one, so behind the mixture its scale and shift
  would be the same. Its weight starts at zero with RESNET.ZERO_INIT_FINAL_BN, as that of every residual branch: the
  network then starts as the one without attention, and takes that one's weights.
"""

from collections.abc import Mapping

from fvcore.common.config import CfgNode
from torch import Tensor, nn

from slowfast_atfr.models.norm import Norm
from slowfast_atfr.models.resnet import Clips
from slowfast_atfr.packed import PackedClips, pack_dense, per_length, to_dense


def gather(maps: Tensor, scores: Tensor) -> Tensor:
    """The K descriptors of each clip: weighted sums of its maps, by a softmax of the scores over time.

    Args:
        maps: (N, C, T, H, W), best in channels_last_3d: it is not copied then.
        scores: (N, K, T), of every map for every descriptor.
    Returns:
        (N, C, K, H, W), channels_last_3d.
    Source: Chen et al., NeurIPS 2018, the first attention step, with a temporal map in the place of a position.
    """
    return _mix(scores.softmax(2), maps)


def distribute(descriptors: Tensor, scores: Tensor) -> Tensor:
    """What each of T maps gets back: weighted sums of its clip's descriptors, by a softmax of the scores over them.

    Args:
        descriptors: (N, C, K, H, W), best in channels_last_3d.
        scores: (N, K, T), of every descriptor for every map.
    Returns:
        (N, C, T, H, W), channels_last_3d.
    Source: Chen et al., NeurIPS 2018, the second attention step, with a temporal map in the place of a position.
    """
    return _mix(scores.softmax(1).mT, descriptors)


def _mix(weights: Tensor, maps: Tensor) -> Tensor:
    """weights (N, M, T), maps (N, C, T, H, W) -> (N, C, M, H, W): M weighted sums over T, one matrix product a clip."""
    frames = maps.permute(0, 2, 3, 4, 1)
    mixed = weights @ frames.flatten(2)
    return mixed.unflatten(2, frames.shape[2:]).permute(0, 4, 1, 2, 3)


class TemporalAttention(nn.Module):
    """x + distribute(bn(conv_value(gather(x)))): (N, C, T, H, W), dense or packed, to the same.

    A clip attends to its own maps only; their order does not matter, their number may be any.

    Args:
        channels: C.
        num_descriptors: K.
        norm: as everywhere in the network.
    """

    def __init__(self, channels: int, num_descriptors: int, *, norm: Norm) -> None:
        super().__init__()
        self.conv_gather = nn.Conv3d(channels, num_descriptors, 1, bias=False)  # softmax over time would take it out
        self.conv_distribute = nn.Conv3d(channels, num_descriptors, 1)
        self.conv_value = nn.Conv3d(channels, channels, 1, bias=False)
        self.bn = norm(channels)

    @property
    def final_bn(self) -> nn.Module:
        """The norm whose weight RESNET.ZERO_INIT_FINAL_BN starts at zero."""
        return self.bn

    def forward(self, x: Clips) -> Clips:
        means = x.mean((3, 4), keepdim=True)  # (N, C, T, 1, 1)
        gathered = per_length(x, lambda maps, scores: gather(maps, scores.flatten(2)), self.conv_gather(means))
        descriptors = self.bn(self.conv_value(to_dense(gathered)))  # K of every clip: dense, however long the clips are
        if isinstance(x, PackedClips):
            descriptors = pack_dense(descriptors)
        scores = self.conv_distribute(means)
        return x + per_length(scores, lambda scores, maps: distribute(maps, scores.flatten(2)), descriptors)


class PathwayAttention(nn.Module):
    """Temporal attention behind one stage, for every pathway on its own, `pathway{p}`."""

    def __init__(self, channels: tuple[int, ...], num_descriptors: int, *, norm: Norm) -> None:
        super().__init__()
        for pathway, dim in enumerate(channels):
            self.add_module(f"pathway{pathway}", TemporalAttention(dim, num_descriptors, norm=norm))

    def forward(self, pathways: list[Clips]) -> list[Clips]:
        return [attend(x) for attend, x in zip(self.children(), pathways, strict=True)]


def attention_after(cfg: CfgNode, channels: Mapping[str, tuple[int, ...]], norm: Norm) -> dict[str, PathwayAttention]:
    """Build the layers of TEMPORAL_ATTENTION.STAGES.

    Args:
        cfg: a validated config.
        channels: channels of each pathway behind each stage that may be named.
        norm: as everywhere in the network.
    Returns:
        a layer for each of the stages, empty when temporal attention is not enabled.
    """
    attention = cfg.TEMPORAL_ATTENTION
    stages = attention.STAGES if attention.ENABLE else []
    return {stage: PathwayAttention(channels[stage], attention.NUM_DESCRIPTORS, norm=norm) for stage in stages}
