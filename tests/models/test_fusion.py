"""Lateral fusion: dense pathways as PySlowFast, packed ones zero padded clip by clip."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_atfr.models.fusion import FuseFastToSlow, concatenate_padded
from slowfast_atfr.packed import pack, unpack


def clips(channels, lengths):
    return [torch.randn(channels, length, 2, 2, dtype=torch.float64) for length in lengths]


@pytest.mark.parametrize(("where", "left"), [("center", 1), ("end", 0)])
def test_the_shorter_clip_is_zero_padded_to_the_longer(where, left):
    slow, fused = clips(3, (2, 4)), clips(2, (5, 1))
    out = unpack(concatenate_padded(pack(slow), pack(fused), where=where))
    assert [clip.shape[1] for clip in out] == [5, 4]
    torch.testing.assert_close(out[0][3:], fused[0])
    torch.testing.assert_close(out[0][:3, left : left + 2], slow[0])
    assert out[0][:3, :left].eq(0).all() and out[0][:3, left + 2 :].eq(0).all()
    torch.testing.assert_close(out[1][:3], slow[1])
    torch.testing.assert_close(out[1][3:, left : left + 1], fused[1])


def test_a_dense_pathway_meets_a_packed_one():
    dense, packed = torch.randn(2, 3, 4, 2, 2, dtype=torch.float64), clips(2, (2, 3))
    out = unpack(concatenate_padded(dense, pack(packed), where="end"))
    for clip, a, b in zip(out, dense, packed, strict=True):
        torch.testing.assert_close(clip[:3], a)
        torch.testing.assert_close(clip[3:, : b.shape[1]], b)


def test_dense_pathways_are_concatenated_as_they_are():
    fuse = FuseFastToSlow(
        4, channel_ratio=2, kernel=5, alpha=4, norm=nn.BatchNorm3d, inplace_relu=True, pad="center"
    ).eval()
    slow, fast = torch.randn(2, 6, 2, 3, 3), torch.randn(2, 4, 8, 3, 3)
    out = fuse([slow, fast])
    torch.testing.assert_close(out[0], torch.cat([slow, fuse.relu(fuse.bn(fuse.conv_f2s(fast)))], 1))
    assert out[1] is fast


@pytest.mark.parametrize("frames", [4, 6, 7, 8])  # 5 overwrites memory where this fails
def test_a_long_kernel_learns_right_from_few_dense_frames(frames):
    fuse = FuseFastToSlow(
        32, channel_ratio=2, kernel=7, alpha=2, norm=lambda _: nn.Identity(), inplace_relu=False, pad="center"
    )
    slow, fast = torch.randn(2, 6, (frames + 1) // 2, 3, 3), torch.randn(2, 32, frames, 3, 3)
    fuse([slow, fast])[0].square().sum().backward()
    weight = fuse.conv_f2s.weight.detach().double().requires_grad_()
    F.conv3d(fast.double(), weight, None, (2, 1, 1), (3, 0, 0)).relu().square().sum().backward()
    torch.testing.assert_close(fuse.conv_f2s.weight.grad.double(), weight.grad, rtol=1e-4, atol=1e-2)
