"""When a video shows its frames: at a constant rate or at given times."""

import functools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

_ROUNDING = 1e-6  # seconds of rounding error in sums of times


@dataclass(frozen=True)
class Timeline:
    """Times of a video's frames; the first is shown at 0.

    fps: mean frame rate. times: (num_frames,) float64 seconds, increasing; None if the rate is constant: frame i is
    shown from i / fps on. round_fps: for clips, the rate with the smallest denominator within the rounding of time
    stamps, if the header's rate disagrees with them; None: fps.
    """

    num_frames: int
    fps: float
    times: np.ndarray | None = None
    round_fps: float | None = None

    @property
    def seconds(self) -> float:
        """Duration of the video; the last frame is shown for the median duration."""
        return self.num_frames / self.fps if self.times is None else float(self.times[-1]) + self._common_step

    @functools.cached_property
    def _common_step(self) -> float:
        return float(np.median(np.diff(self.times)))

    def shown_at(self, seconds: np.ndarray) -> np.ndarray:
        """Return the frames shown at (T,) times, (T,) int64; the first for earlier times."""
        times = np.arange(self.num_frames) / self.fps if self.times is None else self.times
        return (np.searchsorted(times, np.asarray(seconds) + _ROUNDING, side="right") - 1).clip(min=0)

    def span(self, indices: np.ndarray) -> tuple[float, float]:
        """Return start of the first and end of the last of some frames in seconds, without a pause after it."""
        first, last = int(np.min(indices)), int(np.max(indices))
        if self.times is None:
            return first / self.fps, (last + 1) / self.fps
        rest = self.times[last + 1 : last + 2] - self.times[last]
        return float(self.times[first]), float(self.times[last] + min([self._common_step, *rest]))


def timeline_of(pts: np.ndarray, time_base: Fraction, header_rate: Fraction | None) -> Timeline | None:
    """Return the timeline of a video's time stamps.

    The header's rate is used if it gives the same duration, since time stamps are rounded to the time base. The rate is
    constant if no frame is more than half a frame early or late.

    Args:
        pts: (F,) int64, increasing presentation times.
        time_base: unit of `pts` in seconds.
        header_rate: frame rate in the file's header, if any.
    Returns:
        the timeline; None for a single frame without header_rate.
    """
    steps, unit = len(pts) - 1, float(time_base)
    times = (pts - pts[0]) * unit
    if not steps:
        return Timeline(len(pts), float(header_rate)) if header_rate else None
    holds = header_rate and abs(steps / float(header_rate) - times[-1]) <= unit + _ROUNDING
    fps = float(header_rate) if holds else float(steps / times[-1])
    is_even = np.abs(times - np.arange(len(pts)) / fps).max() <= 0.5 / fps
    if not is_even:
        return Timeline(len(pts), fps, times)
    return Timeline(len(pts), fps, round_fps=None if holds else _roundest(steps, times[-1], unit))


def _roundest(steps: int, seconds: float, unit: float) -> float:
    """Return the rate with the smallest denominator at which `steps` frames last as long, to a unit of time."""
    rates = (Fraction(steps / seconds).limit_denominator(most) for most in range(1, 1002))
    fits = (float(rate) for rate in rates if rate and abs(steps / float(rate) - seconds) <= unit)
    return next(fits, steps / seconds)
