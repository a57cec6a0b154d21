import pytest
import torch
from torch import nn

from slowfast_atfr.engine.precise_bn import update_precise_bn
from slowfast_atfr.models.norm import CountedBatchNorm
from slowfast_atfr.packed import pack
from tests.processes import run_in_processes

EXACT = {"rtol": 1e-10, "atol": 1e-10}


def make_net():
    torch.manual_seed(3)
    net = nn.Sequential(nn.Conv3d(2, 3, 1), nn.BatchNorm3d(3), nn.ReLU(), nn.Conv3d(3, 4, 1), CountedBatchNorm(4))
    return net.double()


def make_clips(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, length, 4, 4, generator=generator, dtype=torch.float64) * length for length in lengths]


def check_first_norm(net, clips):
    """The first norm's statistics are those of all frames of all clips, as one matrix of values."""
    values = torch.cat([net[0](clip[None]).movedim(1, -1).reshape(-1, 3) for clip in clips])
    torch.testing.assert_close(net[1].running_mean, values.mean(0), **EXACT)
    torch.testing.assert_close(net[1].running_var, values.var(0), **EXACT)


def test_every_frame_weighs_the_same_whatever_its_batch():
    net, lengths = make_net(), [(1,), (2, 5), (8, 8, 3)]
    batches = [make_clips(batch, seed) for seed, batch in enumerate(lengths)]
    update_precise_bn(net, (pack(clips) for clips in batches), num_batches=10)
    check_first_norm(net, sum(batches, []))


def test_one_batch_gives_what_batch_norm_saw():
    precise, plain = make_net(), make_net()
    x = torch.stack(make_clips([5, 5]))
    for norm in (plain[1], plain[4]):
        norm.momentum = 1.0
    plain(x)
    update_precise_bn(precise, [x], num_batches=1)
    for name, value in plain.state_dict().items():
        found = precise.state_dict()[name]
        if name.endswith("num_batches_tracked"):
            assert found == 0  # it counts batches of training: a run that is stopped here and resumed counts the same
        else:
            torch.testing.assert_close(found, value, **EXACT)


def test_no_more_batches_are_taken_than_asked_for():
    net, clips = make_net(), make_clips([4, 4, 4])
    batches = iter([clip[None] for clip in clips])
    update_precise_bn(net, batches, num_batches=2)
    check_first_norm(net, clips[:2])
    assert next(batches) is not None


def test_large_means_keep_their_digits():
    net = nn.Sequential(nn.BatchNorm3d(2))
    clips = [torch.randn(1, 2, 6, 30, 30) + mean for mean in (1000.0, 1001.0, 999.0)]
    update_precise_bn(net, clips, 3)
    expected = torch.cat(clips, 2).double().var((0, 2, 3, 4))
    torch.testing.assert_close(net[0].running_var.double(), expected, rtol=1e-4, atol=0.0)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.bn, self.unused = nn.BatchNorm3d(2).double(), nn.BatchNorm3d(2)

    def forward(self, x):
        return self.bn(x), self.bn(3 * x[:, :, :1] + 5)


def test_a_norm_that_is_called_twice_learns_from_both():
    net, x = Twice(), torch.stack(make_clips([4]))
    update_precise_bn(net, [x], 1)
    values = torch.cat([x.movedim(1, -1).reshape(-1, 2), (3 * x[:, :, :1] + 5).movedim(1, -1).reshape(-1, 2)])
    torch.testing.assert_close(net.bn.running_mean, values.mean(0), **EXACT)
    torch.testing.assert_close(net.bn.running_var, values.var(0), **EXACT)
    assert torch.equal(net.unused.running_mean, torch.zeros(2)) and torch.equal(net.unused.running_var, torch.ones(2))


@pytest.mark.parametrize("training", [True, False])
def test_everything_else_is_as_before(training):
    net = make_net().train(training)
    net[2].eval()
    net[1].momentum, net[4].momentum = 0.7, None
    parameters = [parameter.clone() for parameter in net.parameters()]
    update_precise_bn(net, [torch.stack(make_clips([3]))], 1)
    assert [module.training for module in net] == [training, training, False, training, training]
    assert (net[1].momentum, net[4].momentum) == (0.7, None)
    assert not net[1]._forward_pre_hooks and all(map(torch.equal, parameters, net.parameters()))


def test_a_norm_that_is_kept_in_eval_mode_stays():
    net = make_net()
    net[1].eval()
    update_precise_bn(net, [torch.stack(make_clips([3]))], 1)
    assert torch.equal(net[1].running_mean, torch.zeros(3).double())
    assert not torch.equal(net[4].running_mean, torch.zeros(4).double())


def test_an_error_on_the_way_leaves_nothing_behind():
    net = make_net()
    before = {name: value.clone() for name, value in net.state_dict().items() if "running" in name}
    with pytest.raises(RuntimeError):
        update_precise_bn(net, [torch.stack(make_clips([3])), torch.zeros(1, 7, 2, 2, 2).double()], 2)
    assert net[1].momentum == 0.1 and net[1].training and not net[1]._forward_pre_hooks
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())


def test_what_cannot_be_is_told():
    with pytest.raises(ValueError, match="expected 4 batches, got none"):
        update_precise_bn(make_net(), [], 4)
    x = torch.stack(make_clips([3]))
    x[0, 0, 0, 0, 0] = torch.inf
    with pytest.raises(FloatingPointError, match="the input of 1 has values that are not finite"):
        update_precise_bn(make_net(), [x], 1)


def _share(rank):
    net = make_net()
    batches = [make_clips([1, 7]), make_clips([2], seed=1)] if rank == 0 else [make_clips([3, 3, 3], seed=2)]
    update_precise_bn(net, [pack(clips) for clips in batches], 2)
    check_first_norm(net, make_clips([1, 7]) + make_clips([2], seed=1) + make_clips([3, 3, 3], seed=2))


def test_processes_bring_their_frames_together(tmp_path):
    run_in_processes(_share, tmp_path)
