"""A stem of few channels makes two frames at once: the same numbers, gradients and multiply-adds."""

import copy
import pickle

import pytest
import torch
from torch import nn

from slowfast_atfr.analysis import clip_macs
from slowfast_atfr.config import load_cfg
from slowfast_atfr.models.stem import StemConv3d
from slowfast_atfr.models.video_resnet import ResNet
from slowfast_atfr.packed import pack, unpack


@pytest.fixture
def vectors(monkeypatch):
    def be(name):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: name)

    be("AVX512")
    return be


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("frames", "kernel"), [(8, 5), (7, 5), (9, 7), (3, 1), (6, 3)])
def test_frames_and_gradients_are_those_of_one_at_a_time(vectors, frames, kernel, bias):
    conv = StemConv3d(3, 8, (kernel, 7, 7), (1, 2, 2), (kernel // 2, 3, 3), bias=bias)
    conv.to(memory_format=torch.channels_last_3d)
    x = torch.randn(2, 3, frames, 20, 20).to(memory_format=torch.channels_last_3d).requires_grad_()
    assert conv.makes_pairs(x)
    found = []
    for forward in (conv, lambda x: nn.Conv3d.forward(conv, x)):
        conv.zero_grad()
        x.grad = None
        out = forward(x)
        (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
        found.append((out, x.grad, *(parameter.grad.clone() for parameter in conv.parameters())))
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)
    assert found[0][0].is_contiguous(memory_format=torch.channels_last_3d)


def test_only_where_lanes_are_idle(vectors):
    thin, x = StemConv3d(3, 8, (5, 7, 7), (1, 2, 2), (2, 3, 3)), torch.randn(1, 3, 7, 16, 16)
    assert thin.makes_pairs(x)
    assert not StemConv3d(3, 64, (1, 7, 7)).makes_pairs(x)
    assert not thin.makes_pairs(x[:, :, :6])
    assert not thin.makes_pairs(x.double())
    assert not thin.makes_pairs(torch.empty(1, 3, 7, 16, 16, device="meta"))
    vectors("AVX2")
    assert not StemConv3d(3, 8, (5, 7, 7)).makes_pairs(x)


@pytest.mark.parametrize("changes", [{"stride": (2, 1, 1)}, {"dilation": (2, 1, 1)}])
def test_other_convolutions_are_torchs_own(vectors, changes):
    conv = StemConv3d(3, 8, (3, 3, 3), **{"padding": 1} | changes)
    x = torch.randn(1, 3, 9, 8, 8)
    assert torch.equal(conv(x), nn.Conv3d.forward(conv, x)) and not conv.makes_pairs(x)
    assert conv(x[0]).shape == conv(x)[0].shape


def test_packed_clips_pass_through(vectors):
    conv = StemConv3d(3, 8, (5, 3, 3), (1, 2, 2), (2, 1, 1))
    clips = [torch.randn(3, length, 8, 8) for length in (9, 4, 7)]
    for together, clip in zip(unpack(conv(pack(clips))), clips, strict=True):
        torch.testing.assert_close(together, conv(clip[None])[0])


def test_copies_and_half_precision(vectors):
    conv = StemConv3d(3, 8, (5, 3, 3), (1, 2, 2), (2, 1, 1))
    x = torch.randn(1, 3, 8, 8, 8)
    for other in (copy.deepcopy(conv), pickle.loads(pickle.dumps(conv))):
        assert other.makes_pairs(x) and torch.equal(other(x), conv(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
        torch.testing.assert_close(conv(x), nn.Conv3d.forward(conv, x), rtol=2e-2, atol=2e-2)


class NotOurs(ResNet):
    """Of this file, so that the counter listens to all that it calls."""


@pytest.mark.parametrize("kind", [ResNet, NotOurs])
def test_multiply_adds_are_those_of_the_network(vectors, repo, kind):
    cfg = load_cfg(str(repo / "configs/Mini_Kinetics/3DRESNET18.yaml"), ["DATA.TRAIN_CROP_SIZE", "32"])
    counted = []
    for name in ("AVX512", "DEFAULT"):
        vectors(name)
        counted.append(clip_macs(kind(cfg), [torch.randn(2, 3, cfg.DATA.NUM_FRAMES, 32, 32)]).tolist())
    assert counted[0] == counted[1]
