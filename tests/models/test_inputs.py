"""Normalisation and pathways by formula."""

import pytest
import torch

from slowfast_atfr.config import get_cfg
from slowfast_atfr.models.inputs import normalize, pathways

MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]


@pytest.fixture
def cfg():
    return get_cfg()


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


def test_pyslowfasts_key_leaves_the_network_rgb(frames, cfg):
    expected = pathways(frames, cfg)
    cfg.DATA.REVERSE_INPUT_CHANNEL = True
    for found, clips in zip(pathways(frames, cfg), expected, strict=True):
        assert torch.equal(found, clips)


def test_one_pathway_takes_all(frames, cfg):
    cfg.MODEL.ARCH, cfg.DATA.BGR_INPUT = "3dresnet", True
    (only,) = pathways(frames, cfg)
    assert torch.equal(only, normalize(frames, [0.45] * 3, [0.225] * 3, reverse_channels=True))
