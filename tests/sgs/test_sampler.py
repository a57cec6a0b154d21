"""The layer: it equals a plain reference, clip by clip, whatever stands beside a clip."""

import pytest
import torch
from torch import nn

from slowfast_atfr.config import ConfigError
from slowfast_atfr.packed import PackedClips, pack, unpack
from slowfast_atfr.sgs import SGS, PathwaySGS, record

KERNELS = ["linear", "delta", "linear_mean"]


def make_sgs(channels=6, **options):
    sgs = SGS(channels, **options).double().eval()
    nn.init.normal_(sgs.embed.bn.running_mean)
    nn.init.uniform_(sgs.embed.bn.running_var, 0.5, 1.5)
    return sgs


def make_clip(frames, channels=6):
    return torch.randn(channels, frames, 4, 3, dtype=torch.float64)


def similarity_of(sgs, clip):
    pooled = clip.mean((2, 3)).T
    return sgs.embed.bn(sgs.embed.fc2(torch.relu(sgs.embed.fc1(pooled)))).norm(dim=1)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("order", ["bin", "time"])
@pytest.mark.parametrize("num_bins", [-1, 3, 40])
def test_it_is_the_reference_for_each_clip(reference, kernel, order, num_bins):
    sgs = make_sgs(kernel=kernel, order=order, num_bins=num_bins)
    clips = [make_clip(frames) for frames in (9, 1, 5, 9)]
    for clip, out in zip(clips, unpack(sgs(pack(clips))), strict=True):
        bins = clip.shape[1] if num_bins == -1 else num_bins
        expected = reference(clip, similarity_of(sgs, clip), bins, kernel, order)
        torch.testing.assert_close(out, expected)
        assert out.shape[1] <= min(bins, clip.shape[1])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("block_size", [0, 4])
@pytest.mark.parametrize("lengths", [(5,), (1, 8), (8, 8, 3), (4, 4)])
def test_a_clip_does_not_feel_its_neighbours(kernel, block_size, lengths):
    sgs = make_sgs(kernel=kernel, block_size=block_size)
    clips = [make_clip(frames) for frames in lengths]
    for clip, together in zip(clips, unpack(sgs(pack(clips))), strict=True):
        (alone,) = unpack(sgs(pack([clip])))
        torch.testing.assert_close(together, alone)


def test_blocks_are_sampled_one_by_one_and_laid_end_to_end():
    blocks, whole = make_sgs(block_size=4), make_sgs()
    whole.load_state_dict(blocks.state_dict())
    clip = make_clip(10)
    (out,) = unpack(blocks(pack([clip])))
    parts = [unpack(whole(pack([part])))[0] for part in clip.split(4, dim=1)]
    torch.testing.assert_close(out, torch.cat(parts, 1))


def test_dense_and_packed_input_give_the_same():
    sgs, clips = make_sgs(), [make_clip(7) for _ in range(3)]
    for a, b in zip(unpack(sgs(torch.stack(clips))), unpack(sgs(pack(clips))), strict=True):
        torch.testing.assert_close(a, b)


def test_a_static_clip_becomes_its_mean_frame_under_linear_mean_and_all_but_vanishes_under_linear():
    frame = make_clip(1)
    clip = frame.expand(-1, 8, -1, -1).clone()
    (mean,) = unpack(make_sgs(kernel="linear_mean")(pack([clip])))
    torch.testing.assert_close(mean, frame)
    (lost,) = unpack(make_sgs(kernel="linear")(pack([clip])))
    assert lost.shape[1] == 1 and lost.abs().max() < 1e-5 * frame.abs().max()


def test_permuting_frames_permutes_nothing_in_the_result():
    sgs, clip = make_sgs(kernel="linear", num_bins=4), make_clip(9)
    (out,) = unpack(sgs(pack([clip])))
    (permuted,) = unpack(sgs(pack([clip[:, torch.randperm(9)]])))
    torch.testing.assert_close(out, permuted)


def test_bins_at_test_time_may_differ():
    sgs, clip = make_sgs(num_bins=8, test_num_bins=2), make_clip(8)
    assert unpack(sgs(pack([clip])))[0].shape[1] <= 2
    sgs.train()
    with record(sgs) as log:
        sgs(pack([clip, make_clip(8)]))
    assert max(c.bin.max() for c in log[""]) == 7  # the farthest frame is in the last of 8 bins


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_parameter_gets_a_gradient_and_so_does_the_input(kernel):
    sgs = SGS(6, kernel=kernel).double().train()
    x = torch.randn(2, 6, 8, 3, 3, dtype=torch.float64, requires_grad=True)
    out = sgs(x)
    assert isinstance(out, PackedClips)
    sum((clip * torch.randn_like(clip)).sum() for clip in unpack(out)).backward()
    assert torch.isfinite(x.grad).all() and (x.grad != 0).any()
    for name, parameter in sgs.named_parameters():
        assert torch.isfinite(parameter.grad).all() and (parameter.grad != 0).any(), name


def test_a_single_frame_can_train():
    out = SGS(4, kernel="linear_mean").train()(torch.randn(1, 4, 1, 2, 2))
    assert out.lengths == (1,)


@pytest.mark.parametrize("wrong", [{"num_bins": 0}, {"block_size": -1}, {"order": "tme"}, {"test_num_bins": -2}])
def test_wrong_arguments_are_told(wrong):
    with pytest.raises(ConfigError, match="SGS has"):
        SGS(4, **wrong)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_embeddings_that_are_not_finite_name_the_layer_and_the_clip(bad):
    layer = PathwaySGS({0: make_sgs(), 1: make_sgs(block_size=2)}, label="s2_sgs")
    slow, fast = torch.randn(3, 6, 4, 2, 2).double(), torch.randn(3, 6, 8, 2, 2).double()
    fast[1, 0, 5] = bad
    layer.pathway1.embed.fc1.weight.data.abs_()  # so that the ReLU lets infinity through
    with pytest.raises(FloatingPointError, match=r"s2_sgs.pathway1: the embeddings of clip 1 "):
        layer([slow, fast])


def test_pathways_that_are_not_sampled_pass():
    layer = PathwaySGS({1: make_sgs(channels=2)}, label="s2_sgs")
    slow, fast = torch.randn(2, 6, 4, 2, 2).double(), torch.randn(2, 2, 8, 2, 2).double()
    out = layer([slow, fast])
    assert out[0] is slow and isinstance(out[1], PackedClips)


@pytest.mark.parametrize(("option", "key"), [("similarity", "SGS.SIMILARITY"), ("kernel", "SGS.KERNEL")])
def test_unknown_names_list_the_choices(option, key):
    with pytest.raises(ConfigError, match=rf"{key} is 'cubic'; choose one of .*(linear|magnitude)"):
        SGS(4, **{option: "cubic"})
