"""Windows lie in the frame and show what resizing and then cutting shows; normalisation and pathways by formula."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slowfast_atfr.datasets.transform import (
    Window,
    cut,
    normalize,
    pathways,
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
    top, left, side = Window(size, size * enlarge, along, across).square(height, width)
    assert side >= 1 and top >= 0 and left >= 0 and top + side <= height and left + side <= width
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


MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


@pytest.fixture
def frames():
    return torch.randint(0, 256, (2, 8, 5, 6, 3), dtype=torch.uint8)


def test_normalisation_by_formula(frames):
    out = normalize(frames, MEAN, STD)
    expected = (frames.permute(0, 4, 1, 2, 3).double() / 255).sub(torch.tensor(MEAN).view(3, 1, 1, 1))
    torch.testing.assert_close(out.double(), expected / torch.tensor(STD).view(3, 1, 1, 1), atol=1e-6, rtol=1e-6)
    assert out.is_contiguous(memory_format=torch.channels_last_3d) and out.dtype == torch.float32


def test_reversed_channels_keep_their_mean(frames):
    out = normalize(frames, MEAN, STD, reverse_channels=True)
    torch.testing.assert_close(out, normalize(frames, MEAN, STD).flip(1), atol=0, rtol=0)
    assert out.is_contiguous(memory_format=torch.channels_last_3d)


def test_half_precision_is_rounded_once(frames):
    exact = normalize(frames, MEAN, STD)
    assert torch.equal(normalize(frames, MEAN, STD, dtype=torch.bfloat16), exact.bfloat16())


def test_the_pixels_stay_as_they_are(frames):
    before = frames.clone()
    normalize(frames, MEAN, STD, reverse_channels=True)
    assert torch.equal(frames, before)


def test_pixels_of_another_kind_are_refused(frames):
    with pytest.raises(ValueError, match=r"got torch.float32 in \(2, 8, 5, 6, 3\)"):
        normalize(frames.float(), MEAN, STD)


def test_slow_takes_every_alphath_frame(frames, cfg):
    cfg.SLOWFAST.ALPHA = 2
    slow, fast = pathways(frames, cfg)
    assert slow.shape == (2, 3, 4, 5, 6) and fast.shape == (2, 3, 8, 5, 6)
    assert torch.equal(slow, fast[:, :, [0, 2, 4, 7]])  # linspace(0, 7, 4) is 0, 2.3, 4.7, 7
    assert all(each.is_contiguous(memory_format=torch.channels_last_3d) for each in (slow, fast))
    torch.testing.assert_close(fast, normalize(frames, [0.45] * 3, [0.225] * 3), atol=0, rtol=0)


def test_one_pathway_takes_all(frames, cfg):
    cfg.MODEL.ARCH, cfg.DATA.REVERSE_INPUT_CHANNEL = "3dresnet", True
    (only,) = pathways(frames, cfg, dtype=torch.float16)
    assert only.dtype == torch.float16
    assert torch.equal(only, normalize(frames, [0.45] * 3, [0.225] * 3, reverse_channels=True).half())
