"""Windows lie in the frame and show what resizing and then cutting shows."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_atfr.datasets.transform import (
    CROP_TRIALS,
    ResizedCrop,
    Window,
    cut,
    train_window,
    val_window,
    view_windows,
)


@pytest.fixture
def ramp():
    """ramp(height, width): red grows by 1 a pixel to the right, green downwards."""

    def make(height, width):
        down, right = np.mgrid[:height, :width]
        return np.stack([right, down, 0 * down], axis=2).astype(np.uint8)

    return make


@given(
    height=st.integers(1, 500),
    width=st.integers(1, 500),
    size=st.integers(1, 300),
    enlarge=st.floats(1, 3),
    along=st.floats(0, 1),
    across=st.floats(0, 1),
)
def test_the_square_lies_in_the_frame(height, width, size, enlarge, along, across):
    top, left, side, wide = Window(size, size * enlarge, along, across).part(height, width)
    assert side == wide >= 1 and top >= 0 and left >= 0 and top + side <= height and left + side <= width
    assert abs(side - max(1, min(height, width) / enlarge)) <= 0.5 + 1e-6


@pytest.mark.parametrize("height, width", [(120, 200), (200, 120), (120, 120)])
def test_cutting_first_shows_what_resizing_first_shows(ramp, height, width):
    frame, window = ramp(height, width), Window(size=112, short_side=150, along=0.3, across=0.8)
    scale = 150 / min(height, width)
    whole = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR).astype(int)
    down, right = (0.3, 0.8) if height > width else (0.8, 0.3)
    top, left = round(down * (whole.shape[0] - 112)), round(right * (whole.shape[1] - 112))
    (square,) = cut(frame, [window])
    assert square.shape == (112, 112, 3) and square.dtype == np.uint8
    assert np.abs(whole[top : top + 112, left : left + 112] - square).max() <= 1  # a source pixel, by rounding


def test_views_of_a_wide_frame_are_left_centre_right(ramp, cfg):
    cfg.DATA.TEST_CROP_SIZE = 50
    frame = ramp(50, 101)
    views = cut(frame, view_windows(cfg))
    for view, left in zip(views, (0, 26, 51), strict=True):  # the centre as PySlowFast's uniform_crop: ceil(51 / 2)
        np.testing.assert_array_equal(view, frame[:, left : left + 50])


def test_views_of_a_tall_frame_are_top_centre_bottom(ramp, cfg):
    cfg.DATA.TEST_CROP_SIZE = 50
    frame = ramp(91, 50)
    for view, top in zip(cut(frame, view_windows(cfg)), (0, 21, 41), strict=True):
        np.testing.assert_array_equal(view, frame[top : top + 50])


def test_a_single_view_is_the_centre(cfg):
    cfg.TEST.NUM_SPATIAL_CROPS = 1
    assert view_windows(cfg) == (Window(32, 32, along=0.5),)


def test_validation_takes_the_centre_at_the_small_scale(cfg):
    assert val_window(cfg) == Window(size=32, short_side=36, along=0.5, across=0.5, flip=False)


def test_flipping_mirrors(ramp):
    frame = ramp(40, 60)
    plain, mirrored = cut(frame, [Window(32, 36), Window(32, 36, flip=True)])
    np.testing.assert_array_equal(mirrored, plain[:, ::-1])


@pytest.mark.parametrize("inverse", [False, True])
def test_training_windows(cfg, inverse):
    cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.INV_UNIFORM_SAMPLE = [100, 300], inverse
    rng = np.random.default_rng(0)
    windows = [train_window(cfg, rng) for _ in range(4000)]
    sides = np.array([window.short_side for window in windows])
    assert sides.min() == 100 and sides.max() == 300 and {window.size for window in windows} == {32}
    assert sides.mean() == pytest.approx(164.8 if inverse else 200, abs=3)  # ln(3) / (1/100 - 1/300)
    assert np.mean([window.flip for window in windows]) == pytest.approx(0.5, abs=0.03)
    for place in ("along", "across"):
        values = np.array([getattr(window, place) for window in windows])
        assert values.min() < 0.01 and values.max() > 0.99 and values.mean() == pytest.approx(0.5, abs=0.02)


def test_no_mirroring_where_left_and_right_differ(cfg):
    cfg.DATA.RANDOM_FLIP = False
    rng = np.random.default_rng(0)
    assert not any(train_window(cfg, rng).flip for _ in range(100))


@given(
    height=st.integers(1, 500),
    width=st.integers(1, 500),
    shapes=st.lists(st.tuples(st.floats(0.01, 1), st.floats(0.5, 2)), max_size=3),
    down=st.floats(0, 1, exclude_max=True),
    right=st.floats(0, 1, exclude_max=True),
)
def test_a_rectangle_lies_in_the_frame(height, width, shapes, down, right):
    crop = ResizedCrop(32, tuple(shapes), (0.5, 2.0), down, right)
    top, left, high, wide = crop.part(height, width)
    assert high >= 1 and wide >= 1 and 0 <= top <= height - high and 0 <= left <= width - wide
    for area, aspect in shapes[:1]:
        pixels = area * height * width
        expected = (pixels / aspect) ** 0.5, (pixels * aspect) ** 0.5
        if 1 <= expected[0] <= height - 1 and 1 <= expected[1] <= width - 1:
            assert abs(high - expected[0]) <= 0.5 and abs(wide - expected[1]) <= 0.5


@pytest.mark.parametrize(
    ("height", "width", "part"),
    [(100, 400, (0, 133, 100, 133)), (400, 100, (133, 0, 133, 100)), (100, 120, (0, 0, 100, 120))],
)
def test_where_no_rectangle_fits_the_largest_in_the_middle_is_taken(height, width, part):
    assert ResizedCrop(32, ((1.0, 30.0),) * 10, (0.75, 1.3333), 0.9, 0.9).part(height, width) == part


def test_a_rectangle_is_stretched_and_mirrored(ramp):
    frame = ramp(60, 80)
    crop = ResizedCrop(30, ((0.25, 4 / 3),), (0.75, 4 / 3), down=0.5, right=0.99)
    top, left, high, wide = crop.part(60, 80)
    assert (high, wide) == (30, 40) and (top, left) == (15, 40)
    (out,) = cut(frame, [crop])
    assert abs(int(out[0, 0, 0]) - 40) <= 1 and abs(int(out[-1, -1, 0]) - 79) <= 1 and out[-1, 0, 1] in (43, 44)
    (mirrored,) = cut(frame, [ResizedCrop(30, crop.shapes, crop.aspects, 0.5, 0.99, flip=True)])
    np.testing.assert_array_equal(mirrored, out[:, ::-1])


def test_training_rectangles(cfg):
    cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE, cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE = [0.2, 0.6], [0.5, 2.0]
    rng = np.random.default_rng(0)
    crops = [train_window(cfg, rng) for _ in range(2000)]
    areas, aspects = np.array([crop.shapes for crop in crops]).reshape(-1, 2).T
    assert len(areas) == 2000 * CROP_TRIALS and {crop.size for crop in crops} == {32}
    assert areas.min() >= 0.2 and areas.max() <= 0.6 and areas.mean() == pytest.approx(0.4, abs=0.01)
    assert aspects.min() >= 0.5 and aspects.max() <= 2 and np.median(aspects) == pytest.approx(1, abs=0.03)
    tops = np.array([crop.part(200, 300)[0] for crop in crops])
    assert tops.min() == 0 and np.mean([crop.flip for crop in crops]) == pytest.approx(0.5, abs=0.04)


def test_what_may_not_be_mirrored_is_not(cfg):
    rng = np.random.default_rng(0)
    assert not any(train_window(cfg, rng, may_flip=False).flip for _ in range(100))
