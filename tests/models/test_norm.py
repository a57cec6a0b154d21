import pytest
import torch
from torch import nn

from slowfast_atfr.config import ConfigError, get_cfg
from slowfast_atfr.models.norm import CountedSyncBatchNorm, channel_moments, norm_from
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
    assert type(norm) is kind and (norm.num_features, norm.eps, norm.momentum) == (5, 1e-3, 0.3)


def test_an_unknown_norm_is_told_with_the_choices():
    with pytest.raises(ConfigError, match="BN.NORM_TYPE is 'layernorm'; choose one of batchnorm, sync_batchnorm"):
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
    _eval_speaks_to_nobody(rank, norm(CHANNELS).eval())
    with pytest.raises(ValueError, match=r"this norm takes \(N, 3, ...\), got \(2, 4, 1\)"):
        norm(CHANNELS)(torch.zeros(2, 4, 1))
    with pytest.raises(ValueError, match="empty input"):
        norm(CHANNELS)(torch.zeros(0, CHANNELS))


def _packed(rank, norm):
    """Packed clips are their frames, and their strides stay, also those of the gradient."""
    clips = make_inputs([(CHANNELS, 1 + rank + length, 4, 4) for length in (0, 3)])
    data = pack(clips).data.requires_grad_()
    out = norm(PackedClips(data, tuple(clip.shape[1] for clip in clips)))
    dense = CountedSyncBatchNorm(CHANNELS, eps=norm.eps, group_size=4).double()
    frames = torch.cat(clips, 1)[None].requires_grad_()
    expected = dense(frames)
    torch.testing.assert_close(torch.cat(unpack(out), 1)[None], expected, **EXACT)
    (grad,) = torch.autograd.grad(
        (out.data**3).sum(), data
    )  # .grad of a leaf is laid out like the leaf, whatever comes
    (expected_grad,) = torch.autograd.grad((expected**3).sum(), frames)
    torch.testing.assert_close(grad, expected_grad, **EXACT)
    assert out.data.stride() == grad.stride() == packed_strides(data.shape)


def _eval_speaks_to_nobody(rank, norm):
    if rank == 0:  # a collective would wait for the others, until the group's timeout fails the test
        torch.testing.assert_close(norm(torch.ones(1, CHANNELS)), torch.ones(1, CHANNELS), rtol=1e-2, atol=1e-2)


def test_unequal_counts_are_one_batch_of_all_values(tmp_path):
    run_in_processes(_unequal_counts, tmp_path, world=4)
