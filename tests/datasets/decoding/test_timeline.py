"""Rates and times from the stamps of a video, whatever its header says."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from slowfast_atfr.config import get_cfg
from slowfast_atfr.datasets.clip_sampling import Windows
from slowfast_atfr.datasets.decoder import open_video, probe
from slowfast_atfr.datasets.decoding.timeline import Timeline, timeline_of
from tests.datasets.conftest import X264

RATES = (Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60000, 1001), 5, 12, 24, 25, 30, 50, 60, 120)
STORED = {"mp4": 90_000, "mov": 90_000, "mkv": 1000, "flv": 1000, "ts": 90_000, "nut": 90_000}  # units of time a second
MILLI = Fraction(1, 1000)


def write_rate(path, *, rate, header, count, first=0, pts=None):
    """A video of `count` frames at `rate`, or at `pts` in the units of its container, whose header has another rate."""
    unit = Fraction(1, STORED[path.suffix[1:]])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=header, options=X264)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = stream.time_base = unit
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
            frame.pts = round(number / rate / unit) + first if pts is None else int(pts[number])
            frame.time_base = unit
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    container=st.sampled_from(sorted(STORED)),
    rate=st.sampled_from(RATES),
    header=st.sampled_from((*RATES, 1, 1000)),
    count=st.integers(12, 80),
)
def test_the_rate_is_that_of_the_stamps_whatever_the_header_says(tmp_path, container, rate, header, count):
    path = write_rate(tmp_path / f"x.{container}", rate=rate, header=header, count=count)
    rounding = 1 + 1.5 * float(rate) / (STORED[container] * (count - 1))
    with open_video(path) as video:
        assert video.num_frames == count
        assert float(rate) / rounding <= video.fps <= float(rate) * rounding
        assert video.timeline.times is None


def test_a_header_that_is_right_is_more_exact_than_stamps(tmp_path):
    rate = Fraction(30000, 1001)
    path = write_rate(tmp_path / "x.mkv", rate=rate, header=rate, count=50)  # which counts milliseconds
    assert probe(path).fps == float(rate)


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), 12, 25, 30, 50])
@pytest.mark.parametrize("unit", [1000, 90_000])
@pytest.mark.parametrize("header", [None, 1000])
def test_clips_are_those_of_the_right_header(rate, unit, header):
    """As far as stamps allow: they are rounded, and so is the rate that follows from them."""
    pts = np.array([round(number * unit / Fraction(rate)) for number in range(200)])
    cfg = get_cfg()
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE, cfg.DATA.TARGET_FPS = 8, 1, 30
    right, found = (timeline_of(pts, Fraction(1, unit), value) for value in (Fraction(rate), header))
    assert found.fps == pytest.approx(right.fps, rel=1e-3)
    for start in (0, 10, 33):
        assert Windows(found, cfg.DATA).at(start).tolist() == Windows(right, cfg.DATA).at(start).tolist()


def test_a_real_header_of_1000(odd_videos):
    cfg = get_cfg()
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE, cfg.DATA.TARGET_FPS = 8, 1, 30
    with open_video(odd_videos / "fps_1000_in_header.mkv") as video:
        assert video.num_frames == 30 and video.fps == pytest.approx(29.99, abs=0.005)
        assert Windows(video.timeline, cfg.DATA).view(0, 1, use_offset=False).tolist() == list(range(8))
        assert Windows(video.timeline, cfg.DATA).view(0, 1, use_offset=True).tolist() == list(range(11, 19))


@pytest.mark.parametrize("jitter", [0, 10, 16])
def test_jitter_is_a_constant_rate(jitter):
    rng = np.random.default_rng(0)
    pts = np.round(np.arange(300) * 1000 / 30).astype(int) + rng.integers(0, jitter + 1, 300)
    assert timeline_of(pts, MILLI, Fraction(30)).times is None


@pytest.mark.parametrize("header", [None, Fraction(30), Fraction(1000)])
def test_times_that_are_not_even(header):
    pts = np.concatenate([np.arange(90) * 33, 603_000 + np.arange(90) * 33])
    timeline = timeline_of(pts + 500, MILLI, header)
    np.testing.assert_allclose(timeline.times, pts / 1000)
    assert timeline.fps == pytest.approx(179 / 605.937) and timeline.seconds == pytest.approx(605.97)
    assert timeline.shown_at([0, 0.0329, 0.033, 2.9, 300, 603, 603.04, 10_000, -1]).tolist() == [
        *(0, 0, 1, 87, 89, 90, 91, 179, 0),
    ]
    assert timeline.span(np.array([0, 10])) == pytest.approx((0, 0.363))
    assert timeline.span(np.array([80, 89])) == pytest.approx((2.64, 2.97))  # the pause does not count
    assert timeline.span(np.array([100, 179])) == pytest.approx((603.33, 605.97))


@given(
    steps=st.lists(st.integers(1, 5000), min_size=1, max_size=60),
    start=st.integers(-1000, 10**9),
    header=st.sampled_from((None, Fraction(25), Fraction(1000))),
)
def test_every_frame_is_shown_at_its_time(steps, start, header):
    pts = start + np.cumsum([0, *steps])
    timeline = timeline_of(pts, MILLI, header)
    assume(timeline.times is not None)
    assert timeline.shown_at(timeline.times).tolist() == list(range(len(pts)))
    assert timeline.shown_at(timeline.times[1:] - 0.0005).tolist() == list(range(len(steps)))
    assert timeline.seconds > timeline.times[-1]


def test_a_constant_rate_needs_no_times():
    timeline = Timeline(60, 25.0)
    assert timeline.seconds == 2.4 and timeline.span(np.array([5, 14])) == (0.2, 0.6)
    assert timeline.shown_at(np.arange(60) / 25).tolist() == list(range(60))


def test_a_single_frame_tells_no_rate():
    assert timeline_of(np.array([7]), MILLI, None) is None
    assert timeline_of(np.array([7]), MILLI, Fraction(25)) == Timeline(1, 25.0)
