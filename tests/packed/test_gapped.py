"""Clips that keep gaps between them: the values in gaps change no result, and every function takes them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils import _pytree as pytree

from slowfast_atfr.packed import PackedClips, apply_framewise, pack, unpack, with_gaps_if_faster
from slowfast_atfr.packed.clips import packed_strides
from slowfast_atfr.packed.gapped import GappedClips, frames_with_gaps, with_gaps, without_gaps
from tests.packed.test_layout import OPS

LENGTHS = (3, 7, 2, 4)
MORE = {
    "conv of a clip's own 5 frames": nn.Conv3d(4, 4, 5, padding=2, groups=4),
    "dilated depthwise conv": nn.Conv3d(4, 4, 3, padding=2, dilation=2, groups=4),
    "transposed conv": nn.ConvTranspose3d(4, 4, (1, 2, 2)),
    "max over clips": lambda x: x.amax((2, 3, 4)),
    "mean over clips": lambda x: x.mean((2, 3, 4)),
    "sum of all": lambda x: x.sum(),
    "pool of clips": lambda x: F.adaptive_avg_pool3d(x, (1, None, None)),
    "factor of each clip": lambda x: x * torch.arange(4.0).view(4, 1, 1, 1, 1),
    "parameter of each channel": lambda x: x + torch.arange(4.0).view(1, 4, 1, 1, 1),
    "a function of one's own": lambda x: apply_framewise(torch.tanh, x),
    "channels last": lambda x: F.layer_norm(x.permute(0, 2, 3, 4, 1), (4,)).permute(0, 4, 1, 2, 3),
    "batch norm, statistics": lambda x: F.batch_norm(x, None, None, training=True),
    "comparison": lambda x: (x > 0).float(),
    "new tensor": lambda x: x.new_ones(2),
}


@pytest.fixture
def gapped():
    """Clips end to end, and the same ones with gaps of NaN."""

    def make(gap=1, size=6):
        x = pack([torch.randn(4, length, size, size) for length in LENGTHS])
        other = with_gaps(x, gap)
        frames, where = frames_with_gaps(other)
        frames[where.on(frames.device)[2]] = torch.nan
        assert torch.isnan(other.rows).any() and other.rows.shape[2] == sum(LENGTHS) + 3 * gap
        return x, other

    return make


@pytest.mark.parametrize("gap", [1, 2])
@pytest.mark.parametrize("name", [*OPS, *MORE])
@torch.no_grad()
def test_every_function_takes_them_as_it_takes_clips_end_to_end(gapped, name, gap):
    x, other = gapped(gap)
    torch.manual_seed(1)
    with torch.enable_grad():  # end to end throughout
        expected = (OPS | MORE)[name](x)
    torch.manual_seed(1)
    got = (OPS | MORE)[name](other)
    if isinstance(expected, PackedClips):
        assert got.lengths == expected.lengths and got.joined.stride() == packed_strides(got.joined.shape)
        expected, got = expected.joined, got.joined
    torch.testing.assert_close(got.detach(), expected.detach(), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_what_is_not_finite_in_one_clip_reaches_no_other():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv3d(4, 4, 3, padding=1, groups=4), nn.Conv3d(4, 4, 5, padding=2, groups=4), nn.SiLU(), nn.BatchNorm3d(4)
    ).eval()
    clips = [torch.randn(4, length, 6, 6) for length in LENGTHS]
    expected = unpack(net(pack(clips)))
    clips[1] = torch.full_like(clips[1], torch.nan)
    got = unpack(net(pack(clips)))
    assert isinstance(net(pack(clips)), GappedClips) and torch.isnan(got[1]).all()
    for index in (0, 2, 3):
        assert torch.equal(got[index], expected[index])
        torch.testing.assert_close(got[index], net(clips[index][None])[0])


@torch.no_grad()
def test_in_place_functions_write_into_the_first_operand_however_the_others_stand(gapped):
    for first, second in ((0, 1), (1, 0), (1, 1)):
        pair, others = gapped(), gapped()
        expected = pair[0].joined + others[0].joined
        got = pair[first].add_(others[second])
        assert got is pair[first]
        torch.testing.assert_close(pair[first].joined, expected)
        torch.testing.assert_close(got.joined, expected)


@torch.no_grad()
def test_operands_that_stand_otherwise_are_brought_to_gaps(gapped):
    (x, one), (_, two) = gapped(1), gapped(2)
    for a, b in ((x, one), (one, x), (one, two), (two, one)):
        total = a + b
        assert isinstance(total, GappedClips) and total.gap == max(getattr(a, "gap", 0), getattr(b, "gap", 0))
        torch.testing.assert_close(total.joined, a.joined + b.joined)


def test_channelwise_convolutions_keep_gaps_in_inference_only():
    conv, x = nn.Conv3d(4, 4, 3, padding=1, groups=4), pack([torch.randn(4, n, 5, 5) for n in LENGTHS])
    assert type(conv(x)) is PackedClips
    with torch.no_grad():
        gapped = conv(x)
        assert isinstance(gapped, GappedClips) and gapped.gap == 1
        assert conv(gapped).rows.shape == gapped.rows.shape
        assert type(nn.Conv3d(4, 4, 3, padding=1)(x)) is PackedClips  # it costs more than copies do
        assert type(nn.Conv3d(4, 4, 3, (2, 1, 1), 1, groups=4)(x)) is PackedClips
        for lengths in ((1, 1, 2, 1), (4, 4), (5,)):  # most frames would be gaps, or there is another way
            assert type(conv(pack([torch.randn(4, n, 5, 5) for n in lengths]))) is PackedClips
        assert type(conv(pack(unpack(x), round_to=8))) is PackedClips


def test_clips_are_laid_out_ahead_where_gaps_will_be_kept():
    x = pack([torch.randn(4, n, 5, 5) for n in LENGTHS])
    dense = torch.randn(2, 4, 3, 5, 5)
    assert with_gaps_if_faster(x, 1) is x  # gradients
    with torch.no_grad():
        assert with_gaps_if_faster(x, 0) is x and with_gaps_if_faster(dense, 1) is dense
        gapped = with_gaps_if_faster(x, 1)
        assert gapped.gap == 1 and with_gaps_if_faster(gapped, 1) is gapped and torch.equal(gapped.joined, x.joined)
        assert without_gaps(x) is x and torch.equal(without_gaps(gapped).joined, x.joined)


def test_a_gradient_taken_later_is_that_of_clips_end_to_end(gapped):
    x, other = gapped()
    grads = []
    for clips in (x, other):
        conv = nn.Conv3d(4, 4, (3, 1, 1), padding=(1, 0, 0), groups=4)
        nn.init.constant_(conv.weight, 0.3)
        nn.init.zeros_(conv.bias)
        conv(clips).square().sum().backward()
        grads.append(conv.weight.grad)
    torch.testing.assert_close(*grads)


def test_what_may_not_be_cleared_in_place_is_laid_end_to_end():
    conv, x = nn.Conv3d(4, 4, 3, padding=1, groups=4), pack([torch.randn(4, n, 5, 5) for n in LENGTHS])
    with torch.inference_mode():
        gapped = conv(x * 1)
    with torch.no_grad():
        assert type(conv(gapped)) is PackedClips
        other = conv(x)
    weighed = other * torch.ones(1, requires_grad=True)
    squares = weighed * weighed
    with torch.no_grad():
        conv(weighed)
    squares.joined.sum().backward()


@torch.no_grad()
def test_rows_of_another_length_are_clips_end_to_end_or_an_error(gapped):
    x, other = gapped()
    assert type(other.with_rows(other.joined * 2)) is PackedClips
    with pytest.raises(ValueError, match="do not tile"):
        other.with_rows(other.rows[:, :, 1:])


@torch.no_grad()
def test_trees_of_tensors_hold_the_clips_end_to_end(gapped):
    x, other = gapped()
    leaves, tree = pytree.tree_flatten({"clips": other})
    assert torch.equal(leaves[0], x.joined)
    assert type(pytree.tree_unflatten(leaves, tree)["clips"]) is PackedClips
    assert "4 clips of (3, 7, 2, 4) frames" in repr(other) and other.shape[1] == 4
