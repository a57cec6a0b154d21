"""Pick frames of every clip, and join clips along time: one gather for all clips."""

from collections.abc import Callable, Hashable, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from slowfast_atfr.packed.clips import PackedClips, of_layout, to_frames
from slowfast_atfr.packed.layout import Indices, Layout, starts_of


class Picked(Indices):
    """Indices of frames, in a new order. Its tensor: the indices."""

    def __init__(self, places: Sequence[int], layout: Layout) -> None:
        super().__init__()
        self.places, self.layout = places, layout

    def arrays(self) -> tuple[np.ndarray, ...]:
        return (np.array(self.places, dtype=np.int64),)


def pick(
    frames: Tensor, layout: Layout, op: str, choose: Callable[[int, int], Sequence[int]], key: Hashable = None
) -> tuple[Tensor, Layout]:
    """Return some frames of each clip, in any order.

    Args:
        frames: (S, ...), clip after clip.
        op: name for the error.
        choose: takes a clip's index and length; returns indices of frames in that clip, from 0.
        key: names the choice, which is then made once per layout.
    Returns:
        (S', ...) frames, and their layout.
    Raises:
        ValueError: if a clip keeps no frame.
        IndexError: if a clip has no such frame.
    """
    make = lambda: _picked(layout, op, choose)  # noqa: E731
    picked = make() if key is None else layout.keep(("pick", op, key), make)
    return frames.index_select(0, picked.on(frames.device)[0]), picked.layout


def _picked(layout: Layout, op: str, choose: Callable[[int, int], Sequence[int]]) -> Picked:
    chosen = []
    for index, length in enumerate(layout.lengths):
        try:
            chosen.append(list(choose(index, length)))
        except IndexError as error:
            raise IndexError(f"{op}: clip {index} of {length} frames has no such frame ({error})") from error
        if not chosen[-1]:
            remedy = "Keep more frames before it, or lengthen the clips with pad_lengths(x, lengths)"
            raise ValueError(f"{op} leaves no frame of clip {index}, which has {length}. {remedy}")
    places = [
        start + place for start, of_clip in zip(starts_of(layout.lengths), chosen, strict=True) for place in of_clip
    ]
    return Picked(places, _layout_of(layout, tuple(map(len, chosen)), places))


def _layout_of(layout: Layout, lengths: tuple[int, ...], places: Sequence[int]) -> Layout:
    if layout.sizes is None:
        return layout.of(lengths)
    return Layout(lengths, layout.round_to, tuple(layout.sizes[place] for place in places))


def join(clips: Sequence[PackedClips]) -> PackedClips:
    """`torch.cat` along time: each clip of the first batch, followed by the same clip of the others."""
    layouts = [x.layout for x in clips]
    lengths = tuple(map(sum, zip(*(layout.lengths for layout in layouts), strict=True)))
    offsets = starts_of([sum(layout.lengths) for layout in layouts])
    starts = [
        [offset + start for start in starts_of(layout.lengths)] for offset, layout in zip(offsets, layouts, strict=True)
    ]
    places = [
        place
        for clip in range(len(lengths))
        for start, layout in zip(starts, layouts, strict=True)
        for place in range(start[clip], start[clip] + layout.lengths[clip])
    ]
    sizes = None
    if all(layout.sizes is not None for layout in layouts):
        row = tuple(chain.from_iterable(layout.sizes for layout in layouts))
        sizes = tuple(row[place] for place in places)
    layout = Layout(lengths, layouts[0].round_to, sizes)
    row = torch.cat([to_frames(x)[0] for x in clips])
    return of_layout(row.index_select(0, Picked(places, layout).on(row.device)[0]), layout)
