"""Which part of a frame is taken, and at which size (CPU, uint8).

A `Window` or a `ResizedCrop` says what to take of a frame of any size. It is found in the coordinates of the source, so
a frame is cut first and resized once, where PySlowFast resizes all of it for a window and then cuts. The square of a
window is the same one, rounded to whole source pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from fvcore.common.config import CfgNode

CROP_TRIALS = 10  # shapes that a ResizedCrop tries


@dataclass(frozen=True)
class Window:
    """A square of a frame.

    size: side of the result in pixels. short_side: what the frame's short side would be scaled to; `size` of it is
    taken. along, across: where, as a fraction of the free way on the frame's long and short side: 0 is left or top, 0.5
    the centre, 1 right or bottom. flip: mirror left and right.
    """

    size: int
    short_side: float
    along: float = 0.5
    across: float = 0.5
    flip: bool = False

    def part(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, left, side, side) of the square, in whole pixels of a frame of this size."""
        side = max(1, round(min(height, width) * min(1.0, self.size / self.short_side)))
        down, right = (self.along, self.across) if height > width else (self.across, self.along)
        return int(down * (height - side) + 0.5), int(right * (width - side) + 0.5), side, side


@dataclass(frozen=True)
class ResizedCrop:
    """A rectangle of a frame, stretched to a square of `size` pixels.

    shapes: (area in areas of the frame, width over height); the first that fits is taken, or else the largest one in
    the middle whose width over height is within `aspects`. down, right: where, as a fraction of the free way. flip:
    mirror left and right.
    Source: PySlowFast, `random_resized_crop`.
    """

    size: int
    shapes: tuple[tuple[float, float], ...]
    aspects: tuple[float, float]
    down: float
    right: float
    flip: bool = False

    def part(self, height: int, width: int) -> tuple[int, int, int, int]:
        """(top, left, height, width) of the rectangle, in whole pixels of a frame of this size."""
        for area, aspect in self.shapes:
            pixels = area * height * width
            high, wide = round(math.sqrt(pixels / aspect)), round(math.sqrt(pixels * aspect))
            if 0 < high <= height and 0 < wide <= width:
                return int(self.down * (height - high + 1)), int(self.right * (width - wide + 1)), high, wide
        least, most = self.aspects
        high, wide = min(height, max(1, round(width / least))), min(width, max(1, round(height * most)))
        return (height - high) // 2, (width - wide) // 2, high, wide


def least_short_side(cfg: CfgNode, crop_size: int) -> int:
    """The smaller one of DATA.TRAIN_JITTER_SCALES; under multigrid training it shrinks with the crop.

    Source: PySlowFast's data sets, by MULTIGRID.DEFAULT_S.
    """
    whole = cfg.MULTIGRID.DEFAULT_S
    low = cfg.DATA.TRAIN_JITTER_SCALES[0]
    return round(low * crop_size / whole) if whole else low


def train_window(
    cfg: CfgNode, rng: np.random.Generator, *, may_flip: bool = True, crop_size: int = 0
) -> Window | ResizedCrop:
    """A random part of a frame: scale, place, and mirroring if DATA.RANDOM_FLIP and `may_flip`.

    The short side is uniform between DATA.TRAIN_JITTER_SCALES, or its inverse is with DATA.INV_UNIFORM_SAMPLE; rounded.
    Instead, with DATA.TRAIN_JITTER_SCALES_RELATIVE, the area is uniform between these, the logarithm of width over
    height between those of DATA.TRAIN_JITTER_ASPECT_RELATIVE. crop_size: of the result; 0 is DATA.TRAIN_CROP_SIZE.
    """
    data, size = cfg.DATA, crop_size or cfg.DATA.TRAIN_CROP_SIZE
    low, high = least_short_side(cfg, size), data.TRAIN_JITTER_SCALES[1]
    if data.TRAIN_JITTER_SCALES_RELATIVE:
        areas = rng.uniform(*data.TRAIN_JITTER_SCALES_RELATIVE, CROP_TRIALS).tolist()
        aspects = np.exp(rng.uniform(*np.log(data.TRAIN_JITTER_ASPECT_RELATIVE), CROP_TRIALS)).tolist()
        shapes = tuple(zip(areas, aspects, strict=True))
    elif data.INV_UNIFORM_SAMPLE:
        short_side = round(1 / rng.uniform(1 / high, 1 / low))
    else:
        short_side = round(rng.uniform(low, high))
    first, second, coin = rng.random(3).tolist()
    flip = bool(data.RANDOM_FLIP and may_flip and coin < 0.5)
    if data.TRAIN_JITTER_SCALES_RELATIVE:
        return ResizedCrop(size, shapes, tuple(data.TRAIN_JITTER_ASPECT_RELATIVE), first, second, flip=flip)
    return Window(size, short_side, first, second, flip=flip)


def val_window(cfg: CfgNode) -> Window:
    """The centre, at the smaller one of DATA.TRAIN_JITTER_SCALES."""
    return Window(cfg.DATA.TRAIN_CROP_SIZE, least_short_side(cfg, cfg.DATA.TRAIN_CROP_SIZE))


def view_windows(cfg: CfgNode) -> tuple[Window, ...]:
    """The centre alone, or left, centre, right (top, centre, bottom of an upright frame), over the whole short side."""
    size = cfg.DATA.TEST_CROP_SIZE
    places = (0.5,) if cfg.TEST.NUM_SPATIAL_CROPS == 1 else (0.0, 0.5, 1.0)
    return tuple(Window(size, size, along=place) for place in places)


def cut(frame: np.ndarray, windows: Sequence[Window | ResizedCrop]) -> np.ndarray:
    """Windows of one size out of a frame.

    Args:
        frame: (H, W, 3) uint8.
    Returns:
        (len(windows), size, size, 3) uint8, resized bilinearly.
    """
    size = windows[0].size
    out = np.empty((len(windows), size, size, 3), np.uint8)
    for row, window in zip(out, windows, strict=True):
        cut_into(row, frame, window)
    return out


def cut_into(out: np.ndarray, frame: np.ndarray, window: Window | ResizedCrop) -> None:
    """Write one window of a (H, W, 3) uint8 frame to `out`, (size, size, 3) uint8 and contiguous, without a copy."""
    top, left, high, wide = window.part(*frame.shape[:2])
    source = frame[top : top + high, left : left + wide]
    cv2.resize(source, (window.size, window.size), dst=out, interpolation=cv2.INTER_LINEAR)
    if window.flip:
        cv2.flip(out, 1, dst=out)
