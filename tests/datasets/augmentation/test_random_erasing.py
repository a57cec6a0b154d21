"""Erased rectangles lie in the clip, have the areas asked for, and are what PySlowFast's are after normalisation."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slowfast_atfr.datasets.augmentation.random_erasing import AREA, Erasing, draw_erasing, erase
from slowfast_atfr.models.inputs import normalize

MEAN, STD = [0.4, 0.45, 0.5], [0.2, 0.225, 0.25]


@given(seed=st.integers(0, 2**32), size=st.integers(8, 300), most=st.integers(1, 5))
def test_rectangles_lie_in_the_clip(seed, size, most):
    erasing = draw_erasing(size, probability=1, most=most, rng=np.random.default_rng(seed))
    assert 1 <= len(erasing.rectangles) <= most
    for top, left, high, wide in erasing.rectangles:
        assert top >= 0 and left >= 0 and top + high <= size and left + wide <= size
    area = sum(high * wide for _, _, high, wide in erasing.rectangles) / size**2
    assert area <= AREA[1] + 0.5


def test_how_often_how_many_how_large():
    rng = np.random.default_rng(0)
    drawn = [draw_erasing(100, probability=0.25, most=3, rng=rng) for _ in range(4000)]
    done = [erasing for erasing in drawn if erasing is not None]
    assert len(done) / len(drawn) == pytest.approx(0.25, abs=0.02)
    counts = np.bincount([len(erasing.rectangles) for erasing in done])
    assert (counts[1:] / len(done)) == pytest.approx([1 / 3] * 3, abs=0.06)
    areas = [sum(high * wide for _, _, high, wide in erasing.rectangles) / 1e4 for erasing in done]
    assert np.mean(areas) == pytest.approx(np.mean(AREA), abs=0.015) and max(areas) < AREA[1] + 0.02
    aspects = np.array([high / wide for erasing in done for _, _, high, wide in erasing.rectangles])
    assert np.median(aspects) == pytest.approx(1, abs=0.15) and aspects.max() < 4
    assert draw_erasing(100, probability=0, most=1, rng=rng) is None


@pytest.fixture
def clip():
    return np.full((6, 60, 60, 3), 7, np.uint8)


def erased(clip, mode, rectangle=(5, 10, 40, 30), seed=0):
    """What the rectangle is after normalisation, (T, 40, 30, 3); everything else has stayed."""
    erase(clip, Erasing((rectangle,), seed), mode=mode, mean=MEAN, std=STD)
    out = normalize(torch.from_numpy(clip)[None], MEAN, STD)[0].permute(1, 2, 3, 0).numpy()
    top, left, high, wide = rectangle
    outside = np.ones(clip.shape[:3], bool)
    outside[:, top : top + high, left : left + wide] = False
    assert (clip[outside] == 7).all()
    return out[:, top : top + high, left : left + wide]


def test_noise_is_normal_after_normalisation(clip):
    noise = erased(clip, "pixel")
    assert noise.mean((0, 1, 2)) == pytest.approx([0] * 3, abs=0.05)
    assert noise.std((0, 1, 2)) == pytest.approx([1] * 3, abs=0.07)  # 3% less by the cut
    for level, share in ((-1, 0.159), (0, 0.5), (1, 0.841)):
        assert (noise < level).mean() == pytest.approx(share, abs=0.01)
    assert np.abs(np.corrcoef(noise.reshape(6, -1))[0, 1:]).max() < 0.1  # frames have noise of their own


def test_a_colour_for_every_frame(clip):
    colours = erased(clip, "rand")
    assert (colours == colours[:, :1, :1]).all() and len(np.unique(colours[:, 0, 0], axis=0)) == 6


def test_the_mean_colour_is_zero_after_normalisation(clip):
    assert np.abs(erased(clip, "const")).max() <= 0.5 / 255 / min(STD) + 1e-6


def test_the_seed_decides(clip):
    first, again, other = (erased(clip.copy(), "pixel", seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
