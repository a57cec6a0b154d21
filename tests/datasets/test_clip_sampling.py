"""Frame numbers of clips: PySlowFast's, by worked numbers, and what holds for any video."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_atfr.datasets.clip_sampling import (
    random_start,
    segment_indices,
    view_start,
    window_indices,
    window_length,
)


def test_a_window_lasts_as_long_at_any_rate():
    assert window_length(30, num_frames=8, sampling_rate=8, target_fps=30) == 64
    assert window_length(15, num_frames=8, sampling_rate=8, target_fps=30) == 32


def test_the_window_ends_one_before_its_length():
    assert window_indices(300, 10.0, 64.0, count=8).tolist() == [10, 19, 28, 37, 46, 55, 64, 73]
    assert window_indices(300, 0.7, 3.0, count=3).tolist() == [0, 1, 2]  # truncated, not rounded


def test_a_window_longer_than_the_video_repeats_the_last_frame():
    assert window_indices(5, 0.0, 16.0, count=4).tolist() == [0, 4, 4, 4]


def test_views_start_evenly_and_stop_short_of_the_end():
    starts = [view_start(300, 64.0, view=view, num_views=4) for view in range(4)]
    assert starts == [0, 59, 118, 177]


def test_offset_views_reach_the_end_in_whole_steps():
    starts = [view_start(300, 64.0, view=view, num_views=4, use_offset=True) for view in range(4)]
    assert starts == [0, 78, 156, 234]  # steps of floor(236 / 3)
    assert view_start(300, 63.0, view=0, num_views=1, use_offset=True) == 118  # floor(237 / 2)
    assert view_start(300, 63.0, view=0, num_views=1) == 0


def test_segments_take_the_middle_rounded_down():
    # 9 / 4 = 2.25: bounds 0, 2, 4 (4.5 to even), 7, 9
    assert segment_indices(10, count=4).tolist() == [1, 3, 5, 8]
    assert segment_indices(1, count=3).tolist() == [0, 0, 0]


def test_random_segments_reach_both_ends():
    rng = np.random.default_rng(0)
    drawn = np.stack([segment_indices(10, count=4, rng=rng) for _ in range(300)])
    assert drawn.min(0).tolist() == [0, 2, 4, 7] and drawn.max(0).tolist() == [2, 4, 7, 9]


@given(
    frames=st.integers(1, 2000),
    fps=st.floats(1, 120),
    count=st.integers(1, 64),
    rate=st.integers(1, 16),
    seed=st.integers(0, 2**32),
)
def test_clips_are_frames_of_the_video_in_order(frames, fps, count, rate, seed):
    window = window_length(fps, num_frames=count, sampling_rate=rate, target_fps=30)
    rng = np.random.default_rng(seed)
    start = random_start(frames, window, rng)
    assert 0 <= start <= max(frames - window, 0)
    starts = [start, *(view_start(frames, window, view=2, num_views=3, use_offset=o) for o in (False, True))]
    clips = [window_indices(frames, each, window, count=count) for each in starts]
    clips += [segment_indices(frames, count=count, rng=each) for each in (rng, None)]
    for clip in clips:
        assert clip.dtype == np.int64 and clip.shape == (count,)
        assert clip.min() >= 0 and clip.max() < frames and (np.diff(clip) >= 0).all()


@pytest.mark.parametrize("use_offset", [False, True])
def test_the_views_of_a_short_video_are_all_the_same(use_offset):
    assert {view_start(10, 64.0, view=view, num_views=10, use_offset=use_offset) for view in range(10)} == {0}
