"""Frame numbers of clips. No file is read.

Two methods, both PySlowFast's. Kinetics: a window of fixed duration, frames evenly along it (`Windows`). Something-
Something: the whole video in equal segments, one frame of each (`segment_indices`).
"""

import math

import numpy as np
import torch
from fvcore.common.config import CfgNode

from slowfast_atfr.datasets.decoding.timeline import Timeline


class Windows:
    """The windows of a video that can be a clip: DATA.NUM_FRAMES frames, evenly along a fixed duration.

    Starts and lengths are in ticks. With a constant frame rate a tick is a frame, and the frames are PySlowFast's. Else
    it is 1 / DATA.TARGET_FPS of a second, and the frames are those shown at evenly spaced times, as in a copy of the
    video at that rate.

    Args:
        timeline: of the video.
        data: the section DATA of a config.
        sampling_rate: instead of DATA.SAMPLING_RATE.
    """

    def __init__(self, timeline: Timeline, data: CfgNode, sampling_rate: int | None = None) -> None:
        is_even = timeline.times is None
        self._timeline, self._count = timeline, data.NUM_FRAMES
        self.rate = (timeline.round_fps or timeline.fps) if is_even else float(data.TARGET_FPS)  # ticks a second
        self.total = timeline.num_frames if is_even else timeline.seconds * self.rate
        self.length = window_length(
            self.rate,
            num_frames=data.NUM_FRAMES,
            sampling_rate=sampling_rate or data.SAMPLING_RATE,
            target_fps=data.TARGET_FPS,
        )

    def random(self, rng: np.random.Generator) -> np.ndarray:
        """Return the frame numbers of a random window, (NUM_FRAMES,) int64."""
        return self.at(random_start(self.total, self.length, rng))

    def view(self, view: int, num_views: int, *, use_offset: bool) -> np.ndarray:
        """Return the frame numbers of one of several windows along the video, (NUM_FRAMES,) int64; see `view_start`."""
        start = view_start(self.total, self.length, view=view, num_views=num_views, use_offset=use_offset)
        return self.at(start)

    def views(self, num_views: int, *, use_offset: bool) -> np.ndarray:
        """Return the frame numbers of all these windows, (num_views, NUM_FRAMES) int64."""
        return np.stack([self.view(view, num_views, use_offset=use_offset) for view in range(num_views)])

    def at(self, start: float) -> np.ndarray:
        """Return the frame numbers of the window that starts at a tick, (NUM_FRAMES,) int64."""
        if self._timeline.times is None:
            return window_indices(self.total, start, self.length, count=self._count)
        ticks = np.linspace(start, start + max(self.length, 1) - 1, self._count)
        return self._timeline.shown_at(ticks / self.rate)


def window_length(fps: float, *, num_frames: int, sampling_rate: int, target_fps: float) -> float:
    """Return the length of a clip (NUM_FRAMES frames, SAMPLING_RATE apart at TARGET_FPS) in frames at `fps`.

    A clip of 8 frames at rate 8 is 64 frames at 30 fps and 53.3 frames at 25 fps: the same time in seconds.
    """
    return sampling_rate * num_frames / target_fps * fps


def random_start(num_frames: float, window: float, rng: np.random.Generator) -> float:
    """Return a uniform random start in frames, with the window in the video; 0 if it is longer than the video."""
    return float(rng.uniform(0, max(num_frames - window, 0)))


def view_start(num_frames: float, window: float, *, view: int, num_views: int, use_offset: bool = False) -> float:
    """Return the start in frames of one of several windows spread along the video.

    Args:
        num_frames: frames of the video.
        window: length of the window in frames.
        view: index of the window, from 0 to num_views - 1.
        num_views: number of windows.
        use_offset: False: starts at slack * view / num_views, so the last window ends before the video. True
            (DATA.USE_OFFSET_SAMPLING): whole steps of slack / (num_views - 1), and the middle for a single view.
    Source: PySlowFast, `get_start_end_idx`; slack is max(0, video - window).
    """
    slack = max(num_frames - window, 0)
    if not use_offset:
        return slack * view / num_views
    if num_views == 1:
        return float(math.floor(slack / 2))
    return float(view * math.floor(slack / (num_views - 1)))


def window_indices(num_frames: int, start: float, window: float, *, count: int) -> np.ndarray:
    """Return frame numbers evenly along a window, (count,) int64, within the video.

    Frames past the end become the last frame. Single precision and truncation are PySlowFast's (`temporal_sampling`),
    and so are the frames; but a window shorter than a frame is one frame instead of running backwards.
    """
    positions = torch.linspace(start, start + max(window, 1) - 1, count)
    return positions.clamp(0, num_frames - 1).long().numpy()


def segment_indices(num_frames: int, *, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """Return one frame of each of `count` equal segments of the video, (count,) int64.

    Args:
        num_frames: frames of the video; with fewer than count some repeat.
        count: number of segments.
        rng: draws a frame of each segment, ends included; None: the middle, rounded down.
    Source: PySlowFast, `Ssv2.get_seq_frames`. Segment i goes from round(s * i) to round(s * (i + 1)), half to even,
    with s = (num_frames - 1) / count.
    """
    bounds = np.round((num_frames - 1) / count * np.arange(count + 1)).astype(np.int64)
    first, last = bounds[:-1], bounds[1:]
    return (first + last) // 2 if rng is None else rng.integers(first, last, endpoint=True)
