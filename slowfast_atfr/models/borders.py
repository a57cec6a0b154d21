"""What convolutions meet beyond the ends of a clip: zeros, or copies of its outer frames.

Zeros change the maps next to a clip's ends, every pixel of them and whatever the clip shows. SGS takes that for change:
a clip that stands still goes on with several maps, and bins are spent on the ends of a clip instead of on what moves.
Behind copies a still clip has maps that are all alike.
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast_atfr.models.resnet import Clips
from slowfast_atfr.models.stem import StemConv3d
from slowfast_atfr.packed import PackedClips, pack, unpack


class ReplicateConv3d(nn.Conv3d):
    """nn.Conv3d as if the outer frames of each clip went on beyond its ends; zeros beyond the other borders.

    Dense clips are convolved as ever, and what the copies would have added is added to the outer frames: 2 p small
    convolutions of single frames for a padding of p frames, and no copy of the clips.
    """

    def forward(self, x: Clips) -> Clips:
        if isinstance(x, PackedClips):
            return self._convolve_packed(x)
        if x.ndim == 4:  # one clip, as torch's own takes it
            return self(x[None])[0]
        return self._add_copies(super().forward(x), x)

    def _convolve_packed(self, x: PackedClips) -> PackedClips:
        """Clips of lengths of their own, made longer first: slower, for the few places where they come."""
        ends = (0, 0, 0, 0, self.padding[0], self.padding[0])
        longer = pack([F.pad(clip, ends, mode="replicate") for clip in unpack(x)], multiple=x.multiple)
        padding = (0, *self.padding[1:])
        return F.conv3d(longer, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def _add_copies(self, out: Tensor, x: Tensor) -> Tensor:
        """Add to out, in place, what the kernel's frames beyond the ends of x meet there."""
        stride, padding, dilation = self.stride[0], self.padding[0], self.dilation[0]
        last = x.shape[2] - 1
        places = range(out.shape[2])
        before = [-((place * stride - padding) // dilation) for place in places]  # frames of the kernel: rounded up
        reach = padding - dilation * (self.kernel_size[0] - 1)
        behind = [-((last + reach - place * stride) // dilation) for place in places]
        convolve = partial(
            F.conv3d,
            stride=(1, *self.stride[1:]),
            padding=(0, *self.padding[1:]),
            dilation=(1, *self.dilation[1:]),
            groups=self.groups,
        )
        first_frame, last_frame = x[:, :, :1], x[:, :, -1:]
        terms = [convolve(first_frame, self.weight[:, :, :n].sum(2, keepdim=True)) for n in before if n > 0]
        out = _add_at(out, 0, terms)
        terms = [convolve(last_frame, self.weight[:, :, -n:].sum(2, keepdim=True)) for n in behind if n > 0]
        return _add_at(out, out.shape[2] - len(terms), terms)


class ReplicateStemConv3d(ReplicateConv3d, StemConv3d):
    """StemConv3d with the borders of ReplicateConv3d."""


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
    for name, conv in module.named_modules():
        if not isinstance(conv, nn.Conv3d) or isinstance(conv, ReplicateConv3d):
            continue
        if conv.padding == "valid" or conv.padding[0] == 0:
            continue
        if type(conv) not in REPLICATING or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise TypeError(f"{name or 'the module'}: {conv} is not an nn.Conv3d with a padding of so many zeros")
        conv.__class__ = REPLICATING[type(conv)]  # so that its parameters, hooks and place stay what they are
    return module


def _add_at(out: Tensor, start: int, terms: list[Tensor]) -> Tensor:
    """Add maps to neighbouring frames of out, in place; adding by index leaves its gradient uncopied, slices do not."""
    if not terms:
        return out
    index = torch.arange(start, start + len(terms), device=out.device)
    return out.index_add_(2, index, torch.cat(terms, dim=2).to(out.dtype))
