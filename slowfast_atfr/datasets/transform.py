"""From decoded pictures to network input: which square of a frame, at which size (CPU, uint8), and normalisation.

A `Window` says what to take of a frame of any size. Its square is found in the coordinates of the source, so a frame is
cut first and resized once, where PySlowFast resizes all of it and then cuts. The square is the same one, rounded to
whole source pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor

from slowfast_atfr.config import num_pathways


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

    def square(self, height: int, width: int) -> tuple[int, int, int]:
        """(top, left, side) of the square, in whole pixels of a frame of this size."""
        side = max(1, round(min(height, width) * min(1.0, self.size / self.short_side)))
        down, right = (self.along, self.across) if height > width else (self.across, self.along)
        return int(down * (height - side) + 0.5), int(right * (width - side) + 0.5), side


def train_window(cfg: CfgNode, rng: np.random.Generator) -> Window:
    """A random window: scale, place, and mirroring if DATA.RANDOM_FLIP.

    The short side is uniform between DATA.TRAIN_JITTER_SCALES, or its inverse is with DATA.INV_UNIFORM_SAMPLE; rounded.
    """
    low, high = cfg.DATA.TRAIN_JITTER_SCALES
    if cfg.DATA.INV_UNIFORM_SAMPLE:
        short_side = round(1 / rng.uniform(1 / high, 1 / low))
    else:
        short_side = round(rng.uniform(low, high))
    along, across, coin = rng.random(3).tolist()
    return Window(cfg.DATA.TRAIN_CROP_SIZE, short_side, along, across, flip=bool(cfg.DATA.RANDOM_FLIP and coin < 0.5))


def val_window(cfg: CfgNode) -> Window:
    """The centre, at the smaller one of DATA.TRAIN_JITTER_SCALES."""
    return Window(cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TRAIN_JITTER_SCALES[0])


def view_windows(cfg: CfgNode) -> tuple[Window, ...]:
    """The centre alone, or left, centre, right (top, centre, bottom of an upright frame), over the whole short side."""
    size = cfg.DATA.TEST_CROP_SIZE
    places = (0.5,) if cfg.TEST.NUM_SPATIAL_CROPS == 1 else (0.0, 0.5, 1.0)
    return tuple(Window(size, size, along=place) for place in places)


def cut(frame: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
    """Windows of one size out of a frame.

    Args:
        frame: (H, W, 3) uint8.
    Returns:
        (len(windows), size, size, 3) uint8, resized bilinearly.
    """
    size = windows[0].size
    out = np.empty((len(windows), size, size, 3), np.uint8)
    for row, window in zip(out, windows, strict=True):
        top, left, side = window.square(*frame.shape[:2])
        square = frame[top : top + side, left : left + side]
        resized = cv2.resize(square, (size, size), interpolation=cv2.INTER_LINEAR)
        row[...] = resized[:, ::-1] if window.flip else resized
    return out


def normalize(
    frames: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    *,
    reverse_channels: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Pixels as network input: (x / 255 - mean) / std, on the device that they are on.

    Args:
        frames: (N, T, H, W, 3) uint8 RGB.
        mean, std: of the three channels R, G, B, for pixels between 0 and 1.
        reverse_channels: give B, G, R.
        dtype: of the result; the arithmetic is float32.
    Returns:
        (N, 3, T, H, W), whose memory is still (N, T, H, W, 3), which is channels_last_3d.
    """
    if frames.ndim != 5 or frames.shape[-1] != 3 or frames.dtype != torch.uint8:
        raise ValueError(f"frames are uint8 in (N, T, H, W, 3), got {frames.dtype} in {tuple(frames.shape)}")
    if reverse_channels:
        frames, mean, std = frames.flip(-1), mean[::-1], std[::-1]
    pixels = frames.to(torch.float32).div_(255)
    pixels.sub_(pixels.new_tensor(mean)).div_(pixels.new_tensor(std))
    return pixels.to(dtype).permute(0, 4, 1, 2, 3)


def pathways(frames: Tensor, cfg: CfgNode, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """The inputs of the network's pathways, normalised: slow takes every SLOWFAST.ALPHA-th frame, fast takes all.

    Args:
        frames: (N, T, H, W, 3) uint8 RGB.
    Returns:
        (N, 3, T_p, H, W) in channels_last_3d for each pathway p (slow, fast); one of them for networks with one.
    Source: PySlowFast, `pack_pathway_output`: slow frames are linspace(0, T - 1, T // ALPHA), truncated.
    """

    def prepare(pixels: Tensor) -> Tensor:
        reverse = cfg.DATA.REVERSE_INPUT_CHANNEL
        return normalize(pixels, cfg.DATA.MEAN, cfg.DATA.STD, reverse_channels=reverse, dtype=dtype)

    if num_pathways(cfg) == 1:
        return [prepare(frames)]
    length = frames.shape[1]
    slow = torch.linspace(0, length - 1, length // cfg.SLOWFAST.ALPHA).long().to(frames.device)
    return [prepare(frames.index_select(1, slow)), prepare(frames)]
