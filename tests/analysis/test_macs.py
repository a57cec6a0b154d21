"""Multiply-adds: per clip, by hand, and the same together as alone."""

import pytest
import torch
from torch import nn

from slowfast_atfr.analysis import clip_macs, count_macs
from slowfast_atfr.packed import pack
from slowfast_atfr.sgs import SGS, PathwaySGS


def test_by_hand():
    model = nn.Sequential(nn.Conv3d(3, 8, (1, 3, 3), padding=(0, 1, 1), groups=1), nn.Flatten(), nn.Linear(8 * 60, 5))
    assert clip_macs(model, torch.randn(2, 3, 3, 4, 5)).tolist() == [60 * 27 * 8 + 480 * 5] * 2


def test_each_packed_clip_pays_for_its_own_frames():
    conv = nn.Conv3d(4, 6, (3, 1, 1), stride=(2, 1, 1), padding=(1, 0, 0), groups=2)
    macs = clip_macs(conv, pack([torch.randn(4, frames, 2, 3) for frames in (5, 1, 8)]))
    assert macs.tolist() == [out * 6 * (6 * 2 * 3) for out in (3, 1, 4)]


def test_a_linear_between_permutes_pays_for_every_position_of_a_clip():
    class Projection(nn.Linear):
        def forward(self, x):
            return super().forward(x.permute(0, 2, 3, 4, 1))

    macs = clip_macs(Projection(4, 6), pack([torch.randn(4, frames, 2, 3) for frames in (5, 1)]))
    assert macs.tolist() == [frames * 6 * 4 * 6 for frames in (5, 1)]


def test_sgs_pays_for_the_embedding_of_the_frames_that_come_in():
    sgs = SGS(8, embed_dim=3).eval()
    assert clip_macs(sgs, torch.randn(2, 8, 5, 4, 4)).tolist() == [5 * (8 * 4 + 4 * 3)] * 2


def test_a_network_pays_for_its_sgs_layers():
    layer = PathwaySGS({0: SGS(8), 1: SGS(4)}, label="s2_sgs").eval()
    slow, fast = torch.randn(2, 8, 2, 4, 4), torch.randn(2, 4, 8, 4, 4)
    assert clip_macs(layer, [slow, fast]).tolist() == [2 * (8 * 4 + 4 * 8) + 8 * (4 * 2 + 2 * 8)] * 2


def test_counting_starts_afresh_after_take_and_ends_with_the_context():
    conv = nn.Conv3d(1, 1, 1)
    with count_macs(conv) as counter:
        conv(torch.randn(2, 1, 1, 1, 1))
        assert counter.take().tolist() == [1, 1]
        conv(torch.randn(3, 1, 1, 1, 1))  # one that nobody asks about
        conv(torch.randn(1, 1, 2, 1, 1))
        assert counter.take().tolist() == [2]
        with pytest.raises(RuntimeError, match="no forward"):
            counter.take()
    assert not conv._forward_hooks and not conv._forward_pre_hooks


def test_the_mode_is_left_as_it_was():
    model = nn.Conv3d(1, 1, 1).train()
    clip_macs(model, torch.randn(1, 1, 1, 1, 1))
    assert model.training
