"""What convolutions meet beyond the ends of a clip: zeros, or copies of its outer frames.

Zeros change the maps next to a clip's ends, every pixel of them and whatever the clip shows. SGS takes that for change:
a clip that stands still goes on with several maps, and bins are spent on the ends of a clip instead of on what moves.
Behind copies a still clip has maps that are all alike.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_atfr.config import STAGES
from slowfast_atfr.models.resnet import Clips
from slowfast_atfr.models.stem import StemConv3d, conv3d_in_pairs
from slowfast_atfr.packed import PackedClips, pack, unpack
from slowfast_atfr.sgs.ends import zero_padded


class ReplicateConv3d(nn.Conv3d):
    """nn.Conv3d behind replicate padding in time; beyond the other borders are zeros.

    The copies are put before and behind the clip. To add to the outer maps what the copies would bring costs less where
    a convolution is channelwise, but rounds there once more, which in half precision SGS takes for change.
    """

    repeats_ends = True

    def forward(self, x: Clips) -> Clips:
        if isinstance(x, PackedClips):
            return self.convolve(pack([self.longer(clip) for clip in unpack(x)], multiple=x.multiple))
        return self.convolve(self.longer(x))

    def longer(self, x: Tensor) -> Tensor:
        """(.., T, H, W) with its outer frames repeated as far as the kernel reaches."""
        first, last = x.narrow(-3, 0, 1), x.narrow(-3, x.shape[-3] - 1, 1)
        return torch.cat([*[first] * self.padding[0], x, *[last] * self.padding[0]], dim=-3)

    def convolve(self, x: Clips) -> Clips:
        """The convolution of clips that are longer already."""
        padding = (0, *self.padding[1:])
        return F.conv3d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class ReplicateStemConv3d(ReplicateConv3d, StemConv3d):
    """StemConv3d with the borders of ReplicateConv3d."""

    def convolve(self, x: Clips) -> Clips:
        if self.makes_pairs(x):
            return conv3d_in_pairs(x, self.weight, self.bias, self.stride[1:], (0, *self.padding[1:]))
        return super().convolve(x)


def zero_padded_before_sgs(network: nn.Module) -> list[str]:
    """Stages (conv1, res2, ..) up to the first SGS layer with convolutions that pad clips with zeros in time.

    Empty without SGS, and for a network whose stages are not called s1, s2, ...
    """
    padded = []
    for number, stage in enumerate(STAGES, start=1):
        layers = getattr(network, f"s{number}", nn.Identity()).modules()
        if zero_padded(layers):
            padded.append(stage)
        if hasattr(network, f"s{number}_sgs"):
            return padded
    return []


REPLICATING = {nn.Conv3d: ReplicateConv3d, StemConv3d: ReplicateStemConv3d}


def replicate_in_time(module: nn.Module) -> nn.Module:
    """Have the convolutions of a module meet copies of a clip's outer frames beyond its ends, in place.

    Parameters and their names stay as they are. A convolution that reaches beyond no end is left alone.

    Args:
        module: what stands before SGS in any network of nn.Conv3d.
    Returns:
        the same module.
    Raises:
        TypeError: for a convolution of another class, or one whose padding is not of zeros, in numbers.
    """
    found = []
    for name, conv in module.named_modules():
        if not isinstance(conv, nn.Conv3d) or isinstance(conv, ReplicateConv3d):
            continue
        if conv.padding == "valid" or conv.padding[0] == 0:
            continue
        if type(conv) not in REPLICATING or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise TypeError(f"{name or 'the module'}: {conv} is not an nn.Conv3d with a padding of so many zeros")
        found.append(conv)
    for conv in found:
        conv.__class__ = REPLICATING[type(conv)]  # so that its parameters, hooks and place stay what they are
    return module
