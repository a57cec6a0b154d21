"""Cropping and resizing of frames (CPU, uint8).

A `Window` or a `ResizedCrop` defines a part of a frame of any size, in source coordinates: a frame is cut first and
then resized, while PySlowFast resizes the whole frame and then cuts. A window's square is the same, rounded to whole
source pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from fvcore.common.config import CfgNode

CROP_TRIALS = 10  # shapes of a ResizedCrop


@dataclass(frozen=True)
class Window:
    """A square of a frame.

    size: side of the result in pixels. short_side: length to which the frame's short side would be scaled. along,
    across: position on the frame's long and short side: 0 is left or top, 0.5 the centre, 1 right or bottom. flip:
    mirror left and right.
    """

    size: int
    short_side: float
    along: float = 0.5
    across: float = 0.5
    flip: bool = False

    def part(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return (top, left, side, side) of the square in pixels of a frame of this size."""
        side = max(1, round(min(height, width) * min(1.0, self.size / self.short_side)))
        down, right = (self.along, self.across) if height > width else (self.across, self.along)
        return int(down * (height - side) + 0.5), int(right * (width - side) + 0.5), side, side


@dataclass(frozen=True)
class ResizedCrop:
    """A rectangle of a frame, stretched to a square of `size` pixels.

    shapes: (share of the frame's area, width / height); the first that fits is used, or else the largest centred one
    with width / height within `aspects`. down, right: position from 0 to 1. flip: mirror left and right.
    Source: PySlowFast, `random_resized_crop`.
    """

    size: int
    shapes: tuple[tuple[float, float], ...]
    aspects: tuple[float, float]
    down: float
    right: float
    flip: bool = False

    def part(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return (top, left, height, width) of the rectangle in pixels of a frame of this size."""
        for area, aspect in self.shapes:
            pixels = area * height * width
            high, wide = round(math.sqrt(pixels / aspect)), round(math.sqrt(pixels * aspect))
            if 0 < high <= height and 0 < wide <= width:
                return int(self.down * (height - high + 1)), int(self.right * (width - wide + 1)), high, wide
        least, most = self.aspects
        high, wide = min(height, max(1, round(width / least))), min(width, max(1, round(height * most)))
        return (height - high) // 2, (width - wide) // 2, high, wide


def least_short_side(cfg: CfgNode, crop_size: int) -> int:
    """Return the smaller of DATA.TRAIN_JITTER_SCALES; in multigrid training it shrinks with the crop.

    Source: PySlowFast's data sets, by MULTIGRID.DEFAULT_S.
    """
    whole = cfg.MULTIGRID.DEFAULT_S
    low = cfg.DATA.TRAIN_JITTER_SCALES[0]
    return round(low * crop_size / whole) if whole else low


def train_window(
    cfg: CfgNode, rng: np.random.Generator, *, may_flip: bool = True, crop_size: int = 0
) -> Window | ResizedCrop:
    """Draw a part of a frame: scale, position, and mirroring if DATA.RANDOM_FLIP and `may_flip`.

    The rounded short side is uniform between DATA.TRAIN_JITTER_SCALES (its inverse with DATA.INV_UNIFORM_SAMPLE). With
    DATA.TRAIN_JITTER_SCALES_RELATIVE the area is uniform between these instead, and log(width / height) between the
    logarithms of DATA.TRAIN_JITTER_ASPECT_RELATIVE. crop_size: of the result; 0: DATA.TRAIN_CROP_SIZE.
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
    """Return the centre window at the smaller of DATA.TRAIN_JITTER_SCALES."""
    return Window(cfg.DATA.TRAIN_CROP_SIZE, least_short_side(cfg, cfg.DATA.TRAIN_CROP_SIZE))


def view_windows(cfg: CfgNode) -> tuple[Window, ...]:
    """Return the centre window, or left, centre, right (top, centre, bottom of upright frames), over the short side."""
    size = cfg.DATA.TEST_CROP_SIZE
    places = (0.5,) if cfg.TEST.NUM_SPATIAL_CROPS == 1 else (0.0, 0.5, 1.0)
    return tuple(Window(size, size, along=place) for place in places)


def cut(frame: np.ndarray, windows: Sequence[Window | ResizedCrop]) -> np.ndarray:
    """Cut windows of one size from a frame.

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
    """Write one window of a (H, W, 3) uint8 frame into `out`, contiguous (size, size, 3) uint8."""
    top, left, high, wide = window.part(*frame.shape[:2])
    source = frame[top : top + high, left : left + wide]
    cv2.resize(source, (window.size, window.size), dst=out, interpolation=cv2.INTER_LINEAR)
    if window.flip:
        cv2.flip(out, 1, dst=out)
