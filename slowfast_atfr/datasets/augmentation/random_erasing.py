"""Random erasing: rectangles of a clip, the same in all frames, filled with noise, a colour, or the mean colour.

PySlowFast erases after normalisation, with noise N(0, 1) or 0. Here clips are erased as pixels, so the fill is
255 (mean + std N(0, 1)), rounded and clipped to 0..255. With the default mean 0.45 and std 0.225 the noise is clipped
to -2 .. 2.44.
Source: Zhong et al., 2020, in the form of timm and PySlowFast.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AREA = (0.02, 1 / 3)  # smallest and largest share of the area of all rectangles together
ASPECT = (0.3, 1 / 0.3)  # height over width
TRIALS = 100  # of shapes for a rectangle until one fits


@dataclass(frozen=True)
class Erasing:
    """Erased parts of a clip. rectangles: (top, left, height, width) in pixels. seed: of the noise."""

    rectangles: tuple[tuple[int, int, int, int], ...]
    seed: int


def draw_erasing(size: int, *, probability: float, most: int, rng: np.random.Generator) -> Erasing | None:
    """Draw 1 to `most` rectangles in a square of `size` pixels, or None with 1 - probability."""
    if rng.random() >= probability:
        return None
    count = int(rng.integers(1, most, endpoint=True))
    rectangles = []
    for _ in range(count):
        for _ in range(TRIALS):
            area = rng.uniform(*AREA) * size * size / count
            aspect = math.exp(rng.uniform(*np.log(ASPECT)))
            high, wide = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if high < size and wide < size:
                top, left = rng.integers(0, (size - high, size - wide), endpoint=True).tolist()
                rectangles.append((top, left, high, wide))
                break
    return Erasing(tuple(rectangles), int(rng.integers(2**63)))


def erase(clip: np.ndarray, erasing: Erasing, *, mode: str, mean: Sequence[float], std: Sequence[float]) -> None:
    """Fill the rectangles of a clip, in place.

    Args:
        clip: (T, H, W, 3) uint8 RGB.
        mode: AUG.RE_MODE. pixel: noise for every value; rand: one colour for each frame and rectangle, from the
            same distribution; const: the mean.
        mean, std: of the three channels R, G, B, for pixels between 0 and 1.
    """
    rng = np.random.default_rng(erasing.seed)
    mean, std = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    for top, left, high, wide in erasing.rectangles:
        shape = {"pixel": (len(clip), high, wide, 3), "rand": (len(clip), 1, 1, 3), "const": (1, 1, 1, 3)}[mode]
        noise = rng.standard_normal(shape, np.float32) if mode != "const" else np.zeros(shape, np.float32)
        noise *= 255 * std
        noise += 255 * mean
        clip[:, top : top + high, left : left + wide] = np.rint(noise, out=noise).clip(0, 255, out=noise)
