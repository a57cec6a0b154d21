"""Packed clips: batches of clips of different lengths, laid end to end, that any 3D CNN takes as they are.

To read in this order: `clips` (the class), `layout` (index tensors of its lengths), `dispatch` (from a torch function
to its handler), `convert` (to and from dense tensors), `temporal` (convolutions and pools), `reduce`, `ops`,
`elementwise`. `views`, `view_rules`, `along`, `moves`, `index`, `ragged_sizes` and `one_d` serve networks of other
libraries that reshape their clips; skip them at first.
"""

from slowfast_atfr.packed import (  # noqa: F401  they fill the table of torch functions
    along,
    elementwise,
    index,
    moves,
    one_d,
    ops,
    ragged_sizes,
    reduce,
    temporal,
    view_rules,
    views,
)
from slowfast_atfr.packed.clips import Clips, PackedClips, from_frames, pack, to_frames, unpack
from slowfast_atfr.packed.convert import (
    apply_framewise,
    lengths_of,
    over_clips_frames,
    over_frames,
    pack_dense,
    pad_lengths,
    per_length,
    sizes_of,
    to_dense,
    weighted_by_size,
    with_sizes,
)
from slowfast_atfr.packed.lengthwise import run_lengthwise

__all__ = [
    "Clips",
    "PackedClips",
    "from_frames",
    "lengths_of",
    "apply_framewise",
    "over_clips_frames",
    "over_frames",
    "pack",
    "pack_dense",
    "pad_lengths",
    "per_length",
    "run_lengthwise",
    "sizes_of",
    "to_dense",
    "to_frames",
    "unpack",
    "weighted_by_size",
    "with_sizes",
]
