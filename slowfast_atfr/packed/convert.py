"""Conversion between packed and dense clips, and functions that take either."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import handle_torch_function

from slowfast_atfr.packed.clips import PackedClips, from_frames, to_frames
from slowfast_atfr.packed.dispatch import handles, name_of
from slowfast_atfr.packed.gather_scatter import gather_clips, scatter_clips, spread
from slowfast_atfr.packed.layout import Layout, starts_of


def lengths_of(x: Tensor | PackedClips) -> tuple[int, ...]:
    """Frames of each clip of packed clips or of a dense (N, C, T, H, W)."""
    return x.lengths if isinstance(x, PackedClips) else (x.shape[2],) * x.shape[0]


def to_dense(x: Tensor | PackedClips) -> Tensor:
    """Clips of one length as (N, C, T, H, W), channels_last_3d: a view of packed clips, or the dense x itself.

    Raises:
        ValueError: if the lengths differ.
    """
    if not isinstance(x, PackedClips):
        return x
    if not x.layout.is_even:
        raise ValueError(
            f"clips of {x.lengths} frames do not form a dense tensor; pad_lengths(x, lengths) makes them equal"
        )
    return _stacked(to_frames(x)[0], len(x))


def pack_dense(x: Tensor, *, round_to: int = 1) -> PackedClips:
    """Pack a dense (N, C, T, H, W): a view when it is channels_last_3d, else one copy."""
    return from_frames(*to_frames(x), round_to=round_to)


def with_sizes(x: PackedClips, sizes: Sequence[float]) -> PackedClips:
    """Attach sizes to the frames of packed clips; operators that keep the lengths keep the sizes.

    Args:
        sizes: (S,) > 0, frames of the video that each frame represents, all clips end to end.
    """
    if len(sizes) != sum(x.lengths):
        raise ValueError(f"{len(sizes)} sizes for {sum(x.lengths)} frames")
    return x.with_frames(to_frames(x)[0], Layout(x.lengths, x.round_to, tuple(sizes)))


def sizes_of(x: Tensor | PackedClips) -> np.ndarray | None:
    """(S,) frames of the video that each frame represents, all clips end to end; None: one each, or not known."""
    sizes = x.layout.sizes if isinstance(x, PackedClips) else None
    return None if sizes is None else np.array(sizes)


def weighted_by_size(x: Tensor | PackedClips) -> Tensor | PackedClips:
    """Frames times their share of the clip, so that the mean over time weighs frames of the video equally."""
    if sizes_of(x) is None:
        return x
    frames, _ = to_frames(x)
    return x.with_frames(frames * x.layout.shares(frames.device).to(frames.dtype)[:, None, None, None])


def apply_framewise(
    fn: Callable[..., Tensor], x: Tensor | PackedClips, *args: Any, **kwargs: Any
) -> Tensor | PackedClips:
    """Apply a tensor function that mixes no frames, such as batch norm or an activation, to all frames at once.

    Args:
        fn: takes (N, C, T, H, W), for packed clips (1, C, S, H, W) with the frames of all clips end to end, and *args,
            **kwargs; returns a tensor of the same N and T.
    """
    if not isinstance(x, PackedClips):
        return fn(x, *args, **kwargs)
    return x.with_joined(fn(x.joined, *args, **kwargs))


def over_frames(op: Callable[..., Tensor], x: PackedClips, *others: PackedClips) -> PackedClips:
    """Run a function of frames, (S, C, H, W) -> (S, C', H', W'), on packed clips of the same lengths."""
    frames = (clips.joined.transpose(1, 2).squeeze(0) for clips in (x, *others))
    return x.with_joined(op(*frames).unsqueeze(0).transpose(1, 2))


def over_clips_frames(x: PackedClips, entries: Tensor) -> Tensor:
    """(N, C, 1, 1, 1) entries of clips -> (S, C, 1, 1), for the frames of `over_frames`."""
    return spread(entries.flatten(1), x.layout)[:, :, None, None]


def pad_lengths(x: Tensor | PackedClips, lengths: Sequence[int], where: str = "center") -> Tensor | PackedClips:
    """Lengthen every clip in time with zero frames.

    Args:
        x: packed clips, or a dense (N, C, T, H, W).
        lengths: one length per clip, at least the clip's own.
        where: "center" pads both ends, an odd frame at the end; "end" pads the end.
    Returns:
        Packed clips of these lengths; a dense tensor for a dense x and one length for all; x itself if nothing changes.
    Raises:
        ValueError: if a clip is longer than its new length, the number of lengths is not N, or `where` is neither.
    """
    lengths, old = tuple(int(length) for length in lengths), lengths_of(x)
    if where not in ("center", "end"):
        raise ValueError(f"where is {where!r}; choose center or end")
    if len(lengths) != len(old):
        raise ValueError(f"{len(lengths)} lengths {lengths} for {len(old)} clips of {old} frames")
    for index, (length, own) in enumerate(zip(lengths, old, strict=True)):
        if length < own:
            raise ValueError(f"clip {index} has {own} frames and cannot be padded to {length}")
    if lengths == old:
        return x
    before = [(length - own) // 2 if where == "center" else 0 for length, own in zip(lengths, old, strict=True)]
    if not isinstance(x, PackedClips) and len(set(lengths)) == 1:
        return F.pad(x, (0, 0, 0, 0, before[0], lengths[0] - old[0] - before[0]))
    x = x if isinstance(x, PackedClips) else pack_dense(x)
    starts = tuple(start + extra for start, extra in zip(starts_of(lengths), before, strict=True))
    return x.with_frames(scatter_clips(to_frames(x)[0], x.layout.placed(starts, sum(lengths))), x.layout.of(lengths))


def per_length(
    x: Tensor | PackedClips, fn: Callable[..., Tensor], *others: Tensor | PackedClips
) -> Tensor | PackedClips:
    """Apply a function of each clip by itself, once per distinct length.

    Args:
        x: packed clips; a dense x is passed to fn as it is, and so are the others.
        fn: takes the n clips of one length as a dense (n, C, L, H, W), channels_last_3d; returns a tensor whose first
            dimension is n.
        others: further arguments of fn: packed clips, as many as x; their C, L, H and W may differ.
    Returns:
        Packed clips in the order of x, if fn returns (n, C', L', H', W'); L' may differ between lengths.
        An ordinary tensor (N, ...), if fn returns (n, ...) with another number of dimensions.
    Raises:
        ValueError: if fn's result is not one entry per clip, or its dimensions differ between lengths.
    """
    if not isinstance(x, PackedClips):
        return fn(x, *others)
    return handle_torch_function(per_length, (x,), x, fn, *others)  # so that a TorchFunctionMode sees it


@handles(per_length)
def _per_length(x: PackedClips, fn: Callable[..., Tensor], *others: PackedClips) -> Tensor | PackedClips:
    inputs = [to_frames(packed)[0] for packed in (x, *others)]
    groups = x.layout.groups(tuple(other.layout for other in others))
    results: list[Tensor] = []  # of each group: (n L', H', W', C') or (n, ...)
    lengths_out = [1] * len(x)
    num_dims = set()
    for members, places in groups:
        length, num_clips = x.lengths[members[0]], len(members)
        dense = [_stacked(gather_clips(frames, where), num_clips) for frames, where in zip(inputs, places, strict=True)]
        result = fn(*dense)
        if not isinstance(result, Tensor) or result.ndim < 1 or len(result) != num_clips:
            got = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise ValueError(f"fn got {num_clips} clips of {length} frames and returned {got}: one entry per clip")
        num_dims.add(result.ndim)
        for index in members:
            lengths_out[index] = result.shape[2] if result.ndim == 5 else 1
        results.append(to_frames(result)[0] if result.ndim == 5 else result)
    if len(num_dims) > 1:
        raise ValueError(f"fn returned tensors of {sorted(num_dims)} dimensions for clips of {x.lengths} frames")
    order = tuple(index for members, _ in groups for index in members)
    entries = gather_clips(torch.cat(results), x.layout.from_groups(order, tuple(lengths_out)))
    return x.with_frames(entries, x.layout.of(tuple(lengths_out))) if num_dims == {5} else entries


def each_alone(function: Callable[..., Tensor], x: PackedClips, *args: Any, **kwargs: Any) -> PackedClips:
    """`per_length` of a torch function, with errors that name the clips."""

    def named(dense: Tensor) -> Tensor:
        try:
            return function(dense, *args, **kwargs)
        except (RuntimeError, ValueError) as error:
            length = dense.shape[2]
            members = [index for index, own in enumerate(x.lengths) if own == length]
            raise type(error)(f"{name_of(function)} on clips {members}, of {length} frames: {error}") from error

    return per_length(x, named)


def _stacked(frames: Tensor, num_clips: int) -> Tensor:
    """(N*T, H, W, C) frames of clips of one length as (N, C, T, H, W), a channels_last_3d view."""
    return frames.unflatten(0, (num_clips, -1)).permute(0, 4, 1, 2, 3)
