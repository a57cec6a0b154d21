"""Frame numbers of clips: PySlowFast's, by worked numbers, and what holds for any video."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_atfr.config import get_cfg
from slowfast_atfr.datasets.clip_sampling import (
    Windows,
    random_start,
    segment_indices,
    view_start,
    window_indices,
    window_length,
)
from slowfast_atfr.datasets.decoding.timeline import Timeline


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


def data(num_frames=8, sampling_rate=8, target_fps=30):
    cfg = get_cfg()
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE, cfg.DATA.TARGET_FPS = num_frames, sampling_rate, target_fps
    return cfg.DATA


PAUSE = np.concatenate([np.arange(90) / 30, 603 + np.arange(90) / 30])  # ten minutes between 3 s and 3 s
FASTER = np.concatenate([np.arange(60), 60 + np.arange(300) / 30])  # 60 s of 1 fps, 10 s of 30 fps


@given(
    frames=st.integers(1, 2000),
    fps=st.floats(1, 120),
    count=st.integers(1, 64),
    rate=st.integers(1, 16),
    views=st.integers(1, 10),
    seed=st.integers(0, 2**32),
)
def test_windows_of_a_constant_rate_are_those_of_its_numbers(frames, fps, count, rate, views, seed):
    windows = Windows(Timeline(frames, fps), data(count, rate))
    length = window_length(fps, num_frames=count, sampling_rate=rate, target_fps=30)
    assert (windows.length, windows.rate, windows.total) == (length, fps, frames)
    start = random_start(frames, length, np.random.default_rng(seed))
    drawn = windows.random(np.random.default_rng(seed))
    np.testing.assert_array_equal(drawn, window_indices(frames, start, length, count=count))
    for use_offset in (False, True):
        starts = [view_start(frames, length, view=v, num_views=views, use_offset=use_offset) for v in range(views)]
        expected = [window_indices(frames, start, length, count=count) for start in starts]
        np.testing.assert_array_equal(windows.views(views, use_offset=use_offset), expected)


@pytest.mark.parametrize("times", [PAUSE, FASTER, np.r_[0, PAUSE[1:] + np.random.default_rng(0).uniform(0, 0.03, 179)]])
@pytest.mark.parametrize("sampling_rate", [1, 2, 8])
def test_a_window_of_a_variable_rate_is_a_span_of_time(times, sampling_rate):
    windows = Windows(Timeline(len(times), 1.0, times), data(8, sampling_rate))
    seconds = 8 * sampling_rate / 30
    assert windows.length / windows.rate == pytest.approx(seconds)
    assert windows.total / windows.rate == pytest.approx(times[-1], abs=0.1)
    for start in (0.0, 1.0, 30.4, 61.0, times[-1] - seconds):
        indices = windows.at(start * windows.rate)
        moments = np.linspace(start, start + seconds - 1 / 30, 8)
        expected = [max([n for n in range(len(times)) if times[n] <= moment + 1e-6]) for moment in moments]
        assert indices.dtype == np.int64 and indices.tolist() == expected


def test_random_windows_and_views_of_a_variable_rate_go_along_its_time():
    windows = Windows(Timeline(360, 5.0, FASTER), data(8, 2))
    rng = np.random.default_rng(0)
    starts = np.array([windows.random(rng)[0] for _ in range(300)])
    assert 200 < (starts < 60).sum() < 290 and starts.max() > 300  # six sevenths of the time are slow
    views = windows.views(7, use_offset=False)
    np.testing.assert_allclose(FASTER[views[:, 0]], np.arange(7) * (70 - 16 / 30) / 7, atol=1)
    assert windows.views(7, use_offset=True)[-1, -1] >= 355
    assert (np.diff(views, axis=1) >= 0).all()


def test_a_window_longer_than_a_video_of_variable_rate_repeats_its_last_frame():
    windows = Windows(Timeline(3, 1.0, np.array([0, 0.5, 1.5])), data(8, 8))  # moments are 0.3 s apart
    assert windows.view(0, 1, use_offset=True).tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
