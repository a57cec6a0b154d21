from datetime import timedelta

import pytest
import torch
from torch import nn

from slowfast_atfr.config import ConfigError, get_cfg
from slowfast_atfr.models import norm as norm_module
from slowfast_atfr.models.norm import CountedBatchNorm, channel_moments, norm_from, set_norm
from slowfast_atfr.packed import PackedClips, pack, unpack
from slowfast_atfr.packed.clips import packed_strides
from tests.processes import run_in_processes

CHANNELS = 3
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def make_cfg(norm_type, devices=1):
    cfg = get_cfg()
    cfg.BN.NORM_TYPE, cfg.BN.NUM_SYNC_DEVICES, cfg.BN.EPSILON, cfg.BN.MOMENTUM = norm_type, devices, 1e-3, 0.3
    cfg.freeze()
    return cfg


@pytest.mark.parametrize(("dims", "kind"), [(1, nn.BatchNorm1d), (3, nn.BatchNorm3d)])
def test_the_plain_norm_is_torchs(dims, kind):
    norm = norm_from(make_cfg("batchnorm"), dims)(5)
    assert isinstance(norm, kind) and (norm.num_features, norm.eps, norm.momentum) == (5, 1e-3, 0.3)


def test_an_unknown_norm_is_reported_with_the_choices():
    with pytest.raises(
        ConfigError, match="BN.NORM_TYPE is 'layernorm'; choose one of batchnorm, sync_batchnorm, sub_batchnorm"
    ):
        norm_from(make_cfg("layernorm"))


def test_state_dicts_are_those_of_torchs_norm():
    ours, torchs = norm_from(make_cfg("sync_batchnorm", 8))(5), nn.BatchNorm3d(5)
    assert list(ours.state_dict()) == list(torchs.state_dict())
    torchs.load_state_dict(ours.state_dict())


@pytest.mark.parametrize("training", [True, False])
def test_alone_it_is_plain_batch_norm(training):
    ours = norm_from(make_cfg("sync_batchnorm", 8))(CHANNELS).train(training)
    torchs = nn.BatchNorm3d(CHANNELS, eps=1e-3, momentum=0.3).train(training)
    x = torch.randn(2, CHANNELS, 4, 5, 5) * 3 + 1
    assert torch.equal(ours(x), torchs(x))
    assert torch.equal(ours.running_var, torchs.running_var)
    (first, _) = unpack(ours.eval()(pack([x[0], x[1][:, :2]])))
    torch.testing.assert_close(first, torchs.eval()(x)[0])


@pytest.mark.parametrize("shape", [(2, CHANNELS), (2, CHANNELS, 7), (2, CHANNELS, 3, 4, 5)])
def test_moments_keep_their_digits_where_the_mean_is_large(shape):
    x = torch.randn(shape, dtype=torch.float64) + 1e4
    count, mean, m2 = channel_moments(x)
    rows = x.transpose(0, 1).flatten(1)
    assert count == rows.shape[1]
    torch.testing.assert_close(mean, rows.mean(1), **EXACT)
    torch.testing.assert_close(m2, rows.var(1, correction=0) * count, rtol=1e-9, atol=1e-9)
    single = channel_moments(x.float())[2]
    torch.testing.assert_close(single, channel_moments(x.float().double())[2], rtol=1e-5, atol=1e-5)


def test_moments_of_half_precision_are_taken_in_single():
    x = (torch.randn(500, CHANNELS) + 50).bfloat16()
    torch.testing.assert_close(channel_moments(x)[2], channel_moments(x.double())[2], rtol=1e-5, atol=0.0)


def make_inputs(shapes):
    """One input for each process, of different sizes and about different means."""
    generator = torch.Generator().manual_seed(1)
    options = {"generator": generator, "dtype": torch.float64}
    return [torch.randn(shape, **options) * (1 + rank) + 10 * rank for rank, shape in enumerate(shapes)]


def check_against_one_process(rank, norm, inputs, loss_of):
    """Forward, backward and running statistics are those of BatchNorm1d over the values of all `inputs`."""
    reference = nn.BatchNorm1d(CHANNELS, eps=norm.eps, momentum=norm.momentum).double()
    with torch.no_grad():
        reference.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
        reference.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    norm.double().load_state_dict(reference.state_dict())
    rows = [x.movedim(1, -1).reshape(-1, CHANNELS) for x in inputs]
    together = torch.cat(rows).requires_grad_()
    expected = reference(together)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (weights * expected).sum().backward()

    counts = [len(values) for values in rows]
    x = inputs[rank].clone().requires_grad_()
    out = norm(x)
    loss_of(out, weights.split(counts)[rank]).backward()
    torch.testing.assert_close(out.movedim(1, -1).reshape(-1, CHANNELS), expected.split(counts)[rank], **EXACT)
    grad = x.grad.movedim(1, -1).reshape(-1, CHANNELS)
    torch.testing.assert_close(grad, together.grad.split(counts)[rank], **EXACT)
    torch.testing.assert_close(norm.running_mean, reference.running_mean, **EXACT)
    torch.testing.assert_close(norm.running_var, reference.running_var, **EXACT)
    assert norm.num_batches_tracked == 1
    grads = torch.stack([norm.weight.grad, norm.bias.grad])
    torch.distributed.all_reduce(grads, group=norm.group)  # DDP's part
    torch.testing.assert_close(grads, torch.stack([reference.weight.grad, reference.bias.grad]), **EXACT)


def weighted(out, weights):
    return (weights.view(*out.shape[:1], *out.shape[2:], CHANNELS).movedim(-1, 1) * out).sum()


def _unequal_counts(rank):
    norm = norm_from(make_cfg("sync_batchnorm", 8))  # more than there are: all four
    assert norm(CHANNELS).group_size == 4
    for shapes in (
        [(2, CHANNELS, 4, 5, 5), (1, CHANNELS, 1, 5, 5), (3, CHANNELS, 2, 5, 5), (1, CHANNELS, 7, 2, 2)],
        [(30, CHANNELS), (1, CHANNELS), (2, CHANNELS), (3, CHANNELS)],
        [(3, CHANNELS, 4), (1, CHANNELS, 4), (2, CHANNELS, 9), (3, CHANNELS, 1)],
    ):
        check_against_one_process(rank, norm(CHANNELS), make_inputs(shapes), weighted)

    pairs = norm_from(make_cfg("sync_batchnorm", 2), dims=1)(CHANNELS)
    assert pairs.group_size == 2
    inputs = make_inputs([(5, CHANNELS), (1, CHANNELS), (2, CHANNELS), (7, CHANNELS)])
    check_against_one_process(rank % 2, pairs, inputs[:2] if rank < 2 else inputs[2:], weighted)

    with pytest.raises(ConfigError, match="BN.NUM_SYNC_DEVICES is 3, but the run has 4 processes"):
        norm_from(make_cfg("sync_batchnorm", 3))

    _packed(rank, norm(CHANNELS).double())
    _eval_needs_no_other_process(rank, norm(CHANNELS).eval())
    with pytest.raises(ValueError, match=r"this norm takes \(N, 3, ...\), got \(2, 4, 1\)"):
        norm(CHANNELS)(torch.zeros(2, 4, 1))
    with pytest.raises(ValueError, match="empty input"):
        norm(CHANNELS)(torch.zeros(0, CHANNELS))


def _packed(rank, norm):
    """Packed clips are their frames, and their strides stay, also those of the gradient."""
    clips = make_inputs([(CHANNELS, 1 + rank + length, 4, 4) for length in (0, 3)])
    data = pack(clips).joined.requires_grad_()
    out = norm(PackedClips(data, tuple(clip.shape[1] for clip in clips)))
    dense = CountedBatchNorm(CHANNELS, eps=norm.eps, group_size=4).double()
    frames = torch.cat(clips, 1)[None].requires_grad_()
    expected = dense(frames)
    torch.testing.assert_close(torch.cat(unpack(out), 1)[None], expected, **EXACT)
    (grad,) = torch.autograd.grad(
        (out.joined**3).sum(), data
    )  # .grad of a leaf is laid out like the leaf, whatever comes
    (expected_grad,) = torch.autograd.grad((expected**3).sum(), frames)
    torch.testing.assert_close(grad, expected_grad, **EXACT)
    assert out.joined.stride() == grad.stride() == packed_strides(data.shape)


def _eval_needs_no_other_process(rank, norm):
    if rank == 0:  # a collective would wait for the others, until the group's timeout fails the test
        torch.testing.assert_close(norm(torch.ones(1, CHANNELS)), torch.ones(1, CHANNELS), rtol=1e-2, atol=1e-2)


def test_unequal_counts_are_one_batch_of_all_values(tmp_path):
    run_in_processes(_unequal_counts, tmp_path, world=4)


def plain_norm_over(parts):
    """Each part by a BatchNorm3d of its own, and the statistics that one would keep on average, by their numbers."""
    norms = [nn.BatchNorm3d(CHANNELS, eps=1e-3, momentum=0.3).double() for _ in parts]
    for norm in norms:
        norm.load_state_dict(affine())
    outs = [norm(part) for norm, part in zip(norms, parts, strict=True)]
    shares = torch.tensor([part.numel() for part in parts], dtype=torch.float64) / sum(part.numel() for part in parts)
    mean, var = (shares @ torch.stack([getattr(n, f"running_{leaf}") for n in norms]) for leaf in ("mean", "var"))
    return outs, mean, var


def affine():
    norm = nn.BatchNorm3d(CHANNELS).double()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
        norm.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    return norm.state_dict()


def split_norm(splits):
    cfg = make_cfg("sub_batchnorm")
    cfg.defrost()
    cfg.BN.NUM_SPLITS = splits
    norm = norm_from(cfg)(CHANNELS).double()
    norm.load_state_dict(affine())
    return norm


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("clips", "splits"), [(4, 2), (6, 3), (5, 2), (2, 3)])
def test_parts_of_a_batch_are_normalised_each_on_its_own(clips, splits, layout):
    x = torch.randn(clips, CHANNELS, 2, 3, 3, dtype=torch.float64) * torch.arange(1.0, clips + 1).view(-1, 1, 1, 1, 1)
    ours, theirs = (x.clone().contiguous(memory_format=layout).requires_grad_() for _ in range(2))
    norm = split_norm(splits)
    out = norm(ours)
    outs, mean, var = plain_norm_over([theirs[part::splits] for part in range(min(splits, clips))])
    expected = torch.empty_like(x)
    for part, values in enumerate(outs):
        expected[part::splits] = values
    torch.testing.assert_close(out, expected, **EXACT)
    torch.testing.assert_close(norm.running_mean, mean, **EXACT)
    torch.testing.assert_close(norm.running_var, var, **EXACT)
    assert out.is_contiguous(memory_format=torch.channels_last_3d)
    weights = torch.randn_like(x)
    (grad,) = torch.autograd.grad((weights * out).sum(), ours)
    (expected_grad,) = torch.autograd.grad((weights * expected).sum(), theirs)
    torch.testing.assert_close(grad, expected_grad, **EXACT)


def test_parts_of_packed_clips_are_whole_clips():
    clips = [torch.randn(CHANNELS, length, 3, 3, dtype=torch.float64) * (1 + length) for length in (4, 1, 2, 3, 5)]
    norm = split_norm(2)
    out = norm(pack(clips))
    even, odd = (torch.cat(clips[part::2], 1)[None] for part in range(2))
    (first, second), mean, var = plain_norm_over([even, odd])
    torch.testing.assert_close(torch.cat(unpack(out)[::2], 1)[None], first, **EXACT)
    torch.testing.assert_close(torch.cat(unpack(out)[1::2], 1)[None], second, **EXACT)
    torch.testing.assert_close(norm.running_mean, mean, **EXACT)
    torch.testing.assert_close(norm.running_var, var, **EXACT)
    assert out.joined.stride() == packed_strides(out.joined.shape)


def test_rows_go_with_their_clip():
    rows = torch.randn(7, CHANNELS, dtype=torch.float64)
    norm = split_norm(2)
    out = norm(rows, (3, 2, 2))
    clips = [part.T[:, :, None, None] for part in rows.split([3, 2, 2])]
    torch.testing.assert_close(out, torch.cat([c.flatten(1).T for c in unpack(norm(pack(clips)))]), **EXACT)


def test_a_part_without_variance_joins_another():
    rows = torch.randn(3, CHANNELS, dtype=torch.float64)
    norm = split_norm(2)
    torch.testing.assert_close(norm(rows, (1, 1, 1)), split_norm(1)(rows), **EXACT)


def test_a_batch_norm_of_multigrid_changes_in_place():
    cfg = make_cfg("batchnorm")
    cfg.defrost()
    cfg.MULTIGRID.LONG_CYCLE = True
    model = nn.Sequential(norm_from(cfg)(CHANNELS)).double()
    x = torch.randn(4, CHANNELS, 2, 3, 3, dtype=torch.float64)
    plain = model(x)
    torch.testing.assert_close(plain, nn.BatchNorm3d(CHANNELS, eps=1e-3).double()(x), **EXACT)
    weight, mean = model[0].weight, model[0].running_mean
    set_norm(model, num_splits=2)
    assert not torch.allclose(model(x), plain)
    assert model[0].weight is weight and model[0].running_mean is mean
    set_norm(model)
    torch.testing.assert_close(model(x), plain, **EXACT)


def test_groups_wait_as_long_as_the_run_does(monkeypatch):
    formed = []
    monkeypatch.setattr(norm_module, "get_world_size", lambda: 4)
    monkeypatch.setattr(norm_module, "get_rank", lambda: 3)
    monkeypatch.setattr(norm_module.dist, "new_group", lambda ranks, timeout: formed.append((ranks, timeout)) or ranks)
    cfg = get_cfg()
    cfg.DIST_TIMEOUT, cfg.BN.NORM_TYPE, cfg.BN.NUM_SYNC_DEVICES = 2.5, "sync_batchnorm", 2
    assert norm_from(cfg)(4).group == [2, 3]
    assert formed == [([0, 1], timedelta(minutes=2.5)), ([2, 3], timedelta(minutes=2.5))]
    formed.clear()
    norms = nn.Sequential(CountedBatchNorm(4))
    set_norm(norms, sync_devices=2, timeout=0.5)
    assert norms[0].group == [2, 3] and {timeout for _, timeout in formed} == {timedelta(minutes=0.5)}
