"""Packed clips that keep the gaps of a temporal convolution between them, for inference on a CPU.

Thin networks with a temporal convolution in every block would otherwise copy all clips into a buffer with gaps and back
in each block. The gaps hold arbitrary values: functions that mix no frames run over them, temporal convolutions set
them to zero first, and all others copy the clips out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from slowfast_atfr.packed.clips import PackedClips, flatten, from_frames, packed_strides, to_frames, unflatten
from slowfast_atfr.packed.gather_scatter import gather_clips, scatter_clips
from slowfast_atfr.packed.layout import Layout, Placement, starts_of

MOST_GAPS = 0.5  # gap frames per frame of clips, up to which computing them costs less than copies


class GappedClips(PackedClips):
    """Packed clips with `gap` frames between any two: (1, C, S + gap (N - 1), H, W) rows.

    `joined`, `to_frames` and `unpack` copy the clips end to end: what is written there is lost. In-place functions with
    a handler write to the clips themselves.

    Args:
        rows: with the strides of joined clips.
        layout: of the clips, without the gaps.
        gap: frames between two clips, of any value.
    """

    def __init__(self, rows: Tensor, layout: Layout, gap: int) -> None:
        self.__dict__.update(_rows=rows, lengths=layout.lengths, gap=gap, round_to=layout.round_to, layout=layout)

    @property
    def joined(self) -> Tensor:
        return without_gaps(self).joined

    @property
    def rows(self) -> Tensor:
        return self._rows

    def with_rows(self, rows: Tensor) -> PackedClips:
        if rows is self._rows:
            return self
        if rows.shape[2] != self._rows.shape[2]:  # clips end to end
            return self.with_frames(rows.permute(0, 2, 3, 4, 1).squeeze(0))
        if rows.stride() != packed_strides(rows.shape):
            rows = from_frames(rows.permute(0, 2, 3, 4, 1).squeeze(0), (rows.shape[2],)).joined
        return GappedClips(rows, self.layout, self.gap)


pytree.register_pytree_node(GappedClips, flatten, unflatten)


def without_gaps(x: PackedClips) -> PackedClips:
    """The clips end to end; x itself if they are."""
    if not isinstance(x, GappedClips):
        return x
    return x.with_frames(gather_clips(*frames_with_gaps(x)))


def with_equal_gaps(*clips: PackedClips) -> Sequence[PackedClips]:
    """The clips if their gaps are equal, else all end to end."""
    return clips if len({x.gap for x in clips}) == 1 else [without_gaps(x) for x in clips]


def with_gaps_if_faster(x: Tensor | PackedClips, gap: int) -> Tensor | PackedClips:
    """Put gaps between clips for a block whose convolutions keep them; x itself where that would not be faster.

    Args:
        x: packed clips; a dense x has one length.
        gap: frames between two clips that the convolutions need.
    """
    return with_gaps(x, gap) if gap and isinstance(x, PackedClips) and can_keep_gaps(x, gap) else x


def can_keep_gaps(x: PackedClips, gap: int) -> bool:
    """Whether gaps cost less than copies: in inference on a CPU, for clips of several lengths, not too short."""
    if torch.is_grad_enabled() or x.device.type != "cpu" or x.round_to > 1 or x.layout.is_even:
        return False
    may_write = not x.requires_grad and x.rows.is_inference() == torch.is_inference_mode_enabled()  # into gaps
    return may_write and gap * (len(x) - 1) <= MOST_GAPS * sum(x.lengths)


def with_gaps(x: PackedClips, gap: int) -> GappedClips:
    """The clips with at least `gap` frames between two; x itself if it has them."""
    if isinstance(x, GappedClips) and x.gap >= gap:
        return x
    rows = scatter_clips(to_frames(x)[0], _placement(x.layout, gap))
    return GappedClips(rows.unsqueeze(0).permute(0, 4, 1, 2, 3), x.layout, gap)


def frames_with_gaps(x: PackedClips) -> tuple[Tensor, Placement]:
    """(frames, H, W, C) with the gaps, as a view, and the placement of the clips in it."""
    return x.rows.permute(0, 2, 3, 4, 1).squeeze(0), _placement(x.layout, x.gap)


def layout_with_gaps(x: PackedClips) -> Layout:
    """The layout in which each clip includes the gap that follows it."""
    return x.layout.of((*(length + x.gap for length in x.lengths[:-1]), x.lengths[-1]))


def clear_gaps(x: GappedClips) -> None:
    """Set the gaps to zero, in place."""
    frames, where = frames_with_gaps(x)
    frames.index_fill_(0, where.on(frames.device)[2], 0)


def _placement(layout: Layout, gap: int) -> Placement:
    """The placement of clips with `gap` frames between two."""
    starts = starts_of(tuple(length + gap for length in layout.lengths))
    return layout.placed(starts, starts[-1] + layout.lengths[-1])
