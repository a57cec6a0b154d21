"""When a video shows its frames: evenly, or at times of their own."""

import functools
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

_ROUNDING = 1e-6  # seconds by which sums of times may miss the time of a frame


@dataclass(frozen=True)
class Timeline:
    """Frames of a video along time, which is 0 at the first.

    fps: frames a second on average. times: (num_frames,) float64 seconds, increasing; None where the rate is constant,
    and frame i is shown from i / fps on. round_fps: the roundest rate that rounded time stamps allow, which clips are
    taken by where the header has none that agrees with them; None: fps.
    """

    num_frames: int
    fps: float
    times: np.ndarray | None = None
    round_fps: float | None = None

    @property
    def seconds(self) -> float:
        """How long the video lasts. The last frame is shown as long as most are."""
        return self.num_frames / self.fps if self.times is None else float(self.times[-1]) + self._common_step

    @functools.cached_property
    def _common_step(self) -> float:
        return float(np.median(np.diff(self.times)))

    def shown_at(self, seconds: np.ndarray) -> np.ndarray:
        """Number of the frame that is shown at each of (T,) times, (T,) int64; before the first frame the first."""
        times = np.arange(self.num_frames) / self.fps if self.times is None else self.times
        return (np.searchsorted(times, np.asarray(seconds) + _ROUNDING, side="right") - 1).clip(min=0)

    def span(self, indices: np.ndarray) -> tuple[float, float]:
        """Seconds from the first of some frames to the end of the last; a pause after that does not count."""
        first, last = int(np.min(indices)), int(np.max(indices))
        if self.times is None:
            return first / self.fps, (last + 1) / self.fps
        rest = self.times[last + 1 : last + 2] - self.times[last]
        return float(self.times[first]), float(self.times[last] + min([self._common_step, *rest]))


def timeline_of(pts: np.ndarray, time_base: Fraction, header_rate: Fraction | None) -> Timeline | None:
    """The timeline that the time stamps of a video make.

    The rate of the header holds where it gives the same length, for stamps are rounded to the time base. The rate is
    constant where no frame is shown half a frame's time too early or too late.

    Args:
        pts: (F,) int64, increasing, when each frame is shown.
        time_base: seconds of a unit of `pts`.
        header_rate: frames a second as the file says, if it does.
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
    """The rate of the smallest denominator that makes `steps` frames last as long, to a unit of time."""
    rates = (Fraction(steps / seconds).limit_denominator(most) for most in range(1, 1002))
    fits = (float(rate) for rate in rates if rate and abs(steps / float(rate) - seconds) <= unit)
    return next(fits, steps / seconds)
