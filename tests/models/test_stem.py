"""A stem of few channels makes two frames at once: the same numbers, gradients and multiply-adds."""

import pytest
import torch
from torch import nn

from slowfast_atfr.analysis import clip_macs
from slowfast_atfr.config import load_cfg
from slowfast_atfr.models.stem import StemConv3d
from slowfast_atfr.models.video_resnet import ResNet


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
