"""Views of clips, cut while each frame is decoded once."""

from collections.abc import Callable, Iterator

import numpy as np
from fvcore.common.config import CfgNode

from slowfast_atfr.datasets.decoding.frame_reading import NumberedFrames, places_of
from slowfast_atfr.datasets.transform import cut_into, view_windows


def cut_views(
    frames_at: Callable[[np.ndarray], NumberedFrames],
    indices: np.ndarray,
    cfg: CfgNode,
    *,
    at_once: int | None = None,
    new_array: Callable[[tuple[int, ...]], np.ndarray] = lambda shape: np.empty(shape, np.uint8),
) -> Iterator[np.ndarray]:
    """Yield the views of groups of `at_once` clips in one pass over the video, each when its last frame is read.

    Args:
        frames_at: `decoder.Video.frames` of the video. If it ends early, so do the views.
        indices: (clips, T) frame numbers; starts and ends of clips increase.
        cfg: reads TEST.NUM_SPATIAL_CROPS and DATA.
        at_once: clips of a group; None: all.
        new_array: allocates uint8 memory of a shape.
    Yields:
        (at_once, crops, T, size, size, 3) uint8, in the last group perhaps fewer clips.
    """
    windows, size = view_windows(cfg), cfg.DATA.TEST_CROP_SIZE
    clips, count = indices.shape
    at_once = at_once or clips
    wanted, places = places_of(indices.ravel())
    last = [int(np.searchsorted(wanted, indices[start : start + at_once].max())) for start in range(0, clips, at_once)]
    parts: dict[int, np.ndarray] = {}  # unfinished groups
    done = 0
    for row, frame in frames_at(wanted):
        cut = None
        for clip, t in zip(*np.unravel_index(places[row], indices.shape), strict=True):
            part, number = divmod(int(clip), at_once)
            if part not in parts:
                some = min(at_once, clips - part * at_once)
                parts[part] = new_array((some, len(windows), count, size, size, 3))
            place = parts[part][number, :, t]
            if cut is None:
                for crop, window in enumerate(windows):
                    cut_into(place[crop], frame, window)
                cut = place
            else:
                place[:] = cut
        while done < len(last) and last[done] == row:
            yield parts.pop(done)
            done += 1
