"""Convolutions of clips: over time, with zeros or copies of the outer frames beyond a clip's ends, and of frames."""

from torch import Tensor, cat, nn

from slowfast_atfr.packed import Clips, PackedClips, pack, unpack
from slowfast_atfr.packed.cpu_quirks import conv2d_of_frames, safe_conv3d


class TemporalConv3d(nn.Conv3d):
    """nn.Conv3d, zero padded in numbers, with the right gradients for clips of any length and precision.

    With `repeats_ends` (see `replicate_in_time`) a clip is padded in time with copies of its outer frames. Adding to
    the outer maps what the copies would bring costs less where a convolution is channelwise, but rounds once more,
    which in half precision SGS takes for change.
    """

    repeats_ends = False

    def forward(self, x: Clips) -> Clips:
        if not self.repeats_ends:
            return self.convolve(x, self.padding)
        if isinstance(x, PackedClips):
            x = pack([_repeat_ends(clip, self.padding[0]) for clip in unpack(x)], round_to=x.round_to)
        else:
            x = _repeat_ends(x, self.padding[0])
        return self.convolve(x, (0, *self.padding[1:]))

    def convolve(self, x: Clips, padding: tuple[int, int, int]) -> Clips:
        """The convolution with this zero padding."""
        return safe_conv3d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        return super().extra_repr() + (", repeats_ends=True" if self.repeats_ends else "")


def _repeat_ends(x: Tensor, count: int) -> Tensor:
    """(.., T, H, W) -> (.., count + T + count, H, W)."""
    first, last = x.narrow(-3, 0, 1), x.narrow(-3, x.shape[-3] - 1, 1)
    return cat([*[first] * count, x, *[last] * count], dim=-3)


class FramesConv3d(nn.Conv3d):
    """nn.Conv3d whose kernel sees a single frame, and which takes frames, (S, C, H, W), too."""

    def forward(self, x: Clips) -> Clips:
        if x.ndim != 4:
            return safe_conv3d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        weight, stride, padding, dilation = self.weight.squeeze(2), self.stride[1:], self.padding[1:], self.dilation[1:]
        return conv2d_of_frames(x, weight, self.bias, stride, padding, dilation, self.groups)


def conv3d(dim_in: int, dim_out: int, kernel: tuple[int, int, int], **options: int | tuple[int, ...]) -> nn.Conv3d:
    """A convolution without bias, of frames where the kernel is 1 in time."""
    kind = FramesConv3d if kernel[0] == 1 else TemporalConv3d
    return kind(dim_in, dim_out, kernel, bias=False, **options)
