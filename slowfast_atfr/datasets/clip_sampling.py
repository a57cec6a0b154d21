"""Which frames of a video make a clip: from lengths, rates and views to arrays of frame numbers. No file is read.

Two ways, both PySlowFast's. Kinetics: a window of fixed duration, frames evenly along it (`window_length`, a start,
`window_indices`). Something-Something: the whole video in equal segments, a frame of each (`segment_indices`).
"""

import math

import numpy as np
import torch


def window_length(fps: float, *, num_frames: int, sampling_rate: int, target_fps: float) -> float:
    """Length of a clip in frames of this video: NUM_FRAMES frames, SAMPLING_RATE apart at TARGET_FPS, here at `fps`.

    A clip of 8 frames at rate 8 is 64 frames of a video of 30 fps and 53.3 of one of 25 fps: the same time in seconds.
    """
    return sampling_rate * num_frames / target_fps * fps


def random_start(num_frames: int, window: float, rng: np.random.Generator) -> float:
    """A start, in frames, uniform over those at which the window lies in the video; 0 for one longer than the video."""
    return float(rng.uniform(0, max(num_frames - window, 0)))


def view_start(num_frames: int, window: float, *, view: int, num_views: int, use_offset: bool = False) -> float:
    """Start, in frames, of one of several windows spread along the video.

    Args:
        num_frames: frames of the video.
        window: length of the window in frames.
        view: which of the windows, from 0 to num_views - 1.
        num_views: how many windows there are.
        use_offset: False: starts slack * view / num_views, the last one short of the end. True
            (DATA.USE_OFFSET_SAMPLING): whole steps of slack / (num_views - 1), and the middle for a single view.
    Source: PySlowFast, `get_start_end_idx`; slack is what the video is longer than the window, or 0.
    """
    slack = max(num_frames - window, 0)
    if not use_offset:
        return slack * view / num_views
    if num_views == 1:
        return float(math.floor(slack / 2))
    return float(view * math.floor(slack / (num_views - 1)))


def window_indices(num_frames: int, start: float, window: float, *, count: int) -> np.ndarray:
    """Frame numbers evenly along a window, (count,) int64, within the video.

    Frames past the end become the last frame. Single precision and truncation as in PySlowFast's `temporal_sampling`,
    so that the frames are the same ones; but a window of less than a frame is one frame, and does not run backwards.
    """
    positions = torch.linspace(start, start + max(window, 1) - 1, count)
    return positions.clamp(0, num_frames - 1).long().numpy()


def segment_indices(num_frames: int, *, count: int, rng: np.random.Generator | None = None) -> np.ndarray:
    """One frame of each of `count` equal segments of the whole video, (count,) int64.

    Args:
        num_frames: frames of the video; fewer than count gives some of them twice.
        count: frames wanted.
        rng: draws a frame of each segment, ends included; None takes the middle, rounded down.
    Source: PySlowFast, `Ssv2.get_seq_frames`. Segment i goes from round(s * i) to round(s * (i + 1)), halves to even,
    with s = (num_frames - 1) / count.
    """
    bounds = np.round((num_frames - 1) / count * np.arange(count + 1)).astype(np.int64)
    first, last = bounds[:-1], bounds[1:]
    return (first + last) // 2 if rng is None else rng.integers(first, last, endpoint=True)
