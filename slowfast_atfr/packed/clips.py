"""Clips of different lengths in one batch, laid end to end: real frames only, no padding.

A frame is one time step of a clip: an input picture or a temporal feature map.

`PackedClips` is not a Tensor. Torch functions, Tensor methods and operators reach it through `__torch_function__` and
the table of `dispatch.py`, so `nn.Conv3d`, `nn.BatchNorm3d`, `torch.cat`, `x + y` or `x.sigmoid()` take it as it is. A
clip's result does not depend on its neighbours, except for batch statistics in training, over all real frames. A
function without an entry in the table raises a TypeError.

The memory is that of (S, H, W, C) frames, S = sum(lengths). This layout is private to `slowfast_atfr.packed`: other
code uses `pack`, `unpack`, `per_length`, `to_frames` and their like.

`Fn.apply(x)` of a `torch.autograd.Function` bypasses `__torch_function__` and would lose the
gradient: write `apply_framewise(Fn.apply, x)`.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from slowfast_atfr.packed.dispatch import REMEDY, call, refusal
from slowfast_atfr.packed.layout import Layout
from slowfast_atfr.packed.operators import Operators, operator_of
from slowfast_atfr.packed.ragged import RaggedLength

FRAME_DIM = {1: 3, 3: 1, 4: 2}  # dimensions C, H and W of (N, C, T, H, W) in (S, H, W, C)


def packed_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of joined clips of shape (1, C, S, H, W): those of contiguous (S, H, W, C) frames."""
    _, channels, num_frames, height, width = shape
    return num_frames * height * width * channels, 1, height * width * channels, width * channels, channels


@dataclass(frozen=True, eq=False)
class PackedClips(Operators):
    """Clips of different lengths laid end to end along time.

    Args:
        joined: (1, C, S, H, W), strides (S*H*W*C, 1, H*W*C, W*C, C): channels_last_3d with this batch stride,
            because torch treats a batch of one with another batch stride as contiguous.
        lengths: frames of each clip, all >= 1; their sum is S.
        round_to: buffers of temporal ops are rounded up to a multiple of this (`SGS.PACK_MULTIPLE`).
    layout: lengths and round_to, with the index tensors made from them; results of the same lengths share it.
    Raises:
        ValueError: if the lengths do not tile `joined`, or its strides differ (use `pack` or `from_frames`).
    """

    joined: Tensor
    lengths: tuple[int, ...]
    round_to: int = field(default=1, kw_only=True)
    layout: Layout = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape = tuple(self.joined.shape)
        if not isinstance(self.lengths, tuple) or any(type(length) is not int for length in self.lengths):
            raise ValueError(f"lengths must be a tuple of ints, got {self.lengths!r}")
        tiled = len(shape) == 5 and shape[0] == 1 and sum(self.lengths) == shape[2] > 0
        if not tiled or any(length < 1 for length in self.lengths):
            raise ValueError(
                f"lengths {self.lengths}, which must be >= 1 with sum {sum(self.lengths)}, do not tile clips of shape "
                f"{shape}, which must be (1, C, sum, H, W)"
            )
        if self.joined.stride() != packed_strides(shape):
            raise ValueError(
                f"joined clips of shape {shape} have strides {self.joined.stride()}, but packed clips have "
                f"{packed_strides(shape)}; use pack or from_frames"
            )
        if type(self.round_to) is not int or self.round_to < 1:
            raise ValueError(f"round_to must be an int >= 1, got {self.round_to!r}")
        self.__dict__["layout"] = Layout(self.lengths, self.round_to)

    @classmethod
    def __torch_function__(cls, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, *args, **(kwargs or {}))

    def __getattr__(self, name: str) -> Callable:
        """Tensor methods, by the table of handlers; one without a handler is a TypeError with its remedy."""
        method = getattr(Tensor, name, None)
        if name.startswith("_") or not callable(method):
            raise AttributeError(f"PackedClips has no attribute {name!r}. {REMEDY}.")
        return functools.partial(call, method, self)

    def __repr__(self) -> str:
        _, channels, _, height, width = self.joined.shape
        grad = ", requires_grad=True" if self.requires_grad else ""
        return (
            f"PackedClips({len(self)} clips of {self.lengths} frames, {channels} channels, {height}x{width}, "
            f"dtype={self.dtype}, device={self.device}{grad})"
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def __bool__(self) -> bool:
        raise refusal("bool(x)", "of packed clips is ambiguous", "Test `x is None`, or reduce to one number first")

    def dim(self) -> int:
        return 5

    __array_ufunc__ = None  # for `np.float64(2) * x`
    ndim = property(dim)
    dtype = property(lambda self: self.joined.dtype)
    device = property(lambda self: self.joined.device)
    is_cuda = property(lambda self: self.joined.is_cuda)
    requires_grad = property(lambda self: self.joined.requires_grad)
    data = property(lambda self: self.detach())
    mT = property(lambda self: self.transpose(-2, -1))

    @property
    def shape(self) -> tuple[int, int, RaggedLength, int, int]:
        """(N, C, T, H, W), where T is one number per clip, see RaggedLength."""
        _, channels, _, height, width = self.joined.shape
        return len(self), channels, RaggedLength(self.lengths, self.layout, self.device), height, width

    def with_joined(self, joined: Tensor) -> "PackedClips":
        """These clips with other values: (1, C', S, H', W'), copied if its strides differ from packed clips'."""
        if joined is self.joined:
            return self
        fits = joined.ndim == 5 and joined.shape[0] == 1 and joined.shape[2] == self.joined.shape[2]
        if fits and joined.stride() == packed_strides(joined.shape):
            return _unchecked(joined, self.layout)  # the lengths have been checked
        return self.with_frames(joined.permute(0, 2, 3, 4, 1).squeeze(0))

    def with_frames(self, frames: Tensor, layout: Layout | None = None) -> "PackedClips":
        """Packed clips of other frames (S', H', W', C'), with these lengths or those of a layout."""
        return of_layout(frames, layout or self.layout)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    __iadd__, __isub__ = operator_of(Tensor.add_), operator_of(Tensor.sub_)
    __imul__, __itruediv__ = operator_of(Tensor.mul_), operator_of(Tensor.div_)


def flatten(x: PackedClips) -> tuple[list[Tensor], Layout]:
    return [x.joined], x.layout


def _unchecked(joined: Any, layout: Layout) -> PackedClips:
    x = object.__new__(PackedClips)
    x.__dict__.update(joined=joined, lengths=layout.lengths, round_to=layout.round_to, layout=layout)
    return x


def unflatten(leaves: Sequence[Any], context: Layout) -> PackedClips:
    """Rebuild without the checks: tree_map may replace the tensor by any object."""
    return _unchecked(next(iter(leaves)), context)


Clips = Tensor | PackedClips  # a dense (N, C, T, H, W), or clips of different lengths

# torch.utils.checkpoint and FSDP find tensors by pytree, to keep the random state of their devices
pytree.register_pytree_node(PackedClips, flatten, unflatten)


def to_frames(x: Tensor | PackedClips) -> tuple[Tensor, tuple[int, ...]]:
    """The frames of all clips end to end, and the number of frames of each clip.

    Args:
        x: packed clips, or a dense (N, C, T, H, W).
    Returns:
        (S, H, W, C) frames, S = sum(lengths), contiguous; a view, unless x is dense and not channels_last_3d.
    """
    if isinstance(x, PackedClips):
        return x.joined.permute(0, 2, 3, 4, 1).squeeze(0), x.lengths
    if x.ndim != 5:
        raise ValueError(f"expected packed clips or a dense (N, C, T, H, W), got a tensor of shape {tuple(x.shape)}")
    return x.permute(0, 2, 3, 4, 1).flatten(0, 1).contiguous(), (x.shape[2],) * x.shape[0]


def from_frames(frames: Tensor, lengths: Sequence[int], *, round_to: int = 1) -> PackedClips:
    """Pack frames of clips that are end to end: a view when they are contiguous.

    Args:
        frames: (S, H, W, C).
        lengths: frames of each clip, in order; their sum is S.
    Raises:
        ValueError: if the lengths do not tile the frames.
    """
    return PackedClips(_joined(frames), tuple(int(length) for length in lengths), round_to=round_to)


def of_layout(frames: Tensor, layout: Layout) -> PackedClips:
    """Packed clips of (S, H, W, C) frames whose layout is known."""
    if len(frames) != sum(layout.lengths):
        raise ValueError(f"lengths {layout.lengths} do not tile {len(frames)} frames")
    return _unchecked(_joined(frames), layout)


def _joined(frames: Tensor) -> Tensor:
    """(S, H, W, C) as (1, C, S, H, W), a view when they are contiguous."""
    if frames.ndim != 4:
        raise ValueError(f"expected frames of shape (S, H, W, C), got {tuple(frames.shape)}")
    frames = frames.contiguous()
    joined = frames.unsqueeze(0).permute(0, 4, 1, 2, 3)
    if joined.stride() != packed_strides(joined.shape):  # dimensions of size one may carry any stride
        joined = frames.clone(memory_format=torch.contiguous_format).unsqueeze(0).permute(0, 4, 1, 2, 3)
    return joined


def pack(clips: Sequence[Tensor], *, round_to: int = 1) -> PackedClips:
    """Lay clips of different lengths end to end.

    Args:
        clips: (C, T_i, H, W) each, T_i >= 1; C, H, W, dtype and device the same for all.
        round_to: see PackedClips.
    Raises:
        ValueError: if there is no clip, or one differs from the first in more than its length.
    """
    if not clips:
        raise ValueError("pack needs at least one clip, got none")

    def kind(clip: Tensor) -> tuple:
        return clip.ndim, clip.shape[:1], clip.shape[2:], clip.dtype, clip.device

    for index, clip in enumerate(clips):
        if clip.ndim != 4 or kind(clip) != kind(clips[0]):
            raise ValueError(
                f"clips are (C, T, H, W) and differ in T only, but clip {index} is {tuple(clip.shape)} {clip.dtype} on "
                f"{clip.device} and clip 0 is {tuple(clips[0].shape)} {clips[0].dtype} on {clips[0].device}"
            )
    frames = torch.cat([clip.permute(1, 2, 3, 0) for clip in clips])
    return from_frames(frames, [clip.shape[1] for clip in clips], round_to=round_to)


def unpack(x: Tensor | PackedClips) -> list[Tensor]:
    """The clips of x, (C, T_i, H, W) each, as views; inverse of `pack`."""
    frames, lengths = to_frames(x)
    return [clip.permute(3, 0, 1, 2) for clip in frames.split(lengths)]
