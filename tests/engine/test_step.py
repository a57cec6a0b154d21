import copy

import pytest
import torch
from torch import nn

from slowfast_atfr.config import load_cfg
from slowfast_atfr.engine.step import GradientSteps, autocast

CPU = torch.device("cpu")


def make(*pairs):
    net = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return net, optimizer, GradientSteps(load_cfg(None, [str(item) for item in pairs]), net, optimizer, CPU)


def loss_of(net, x):
    return net(x).square().mean()


def test_iterations_of_a_group_step_together_as_their_mean():
    net, _, steps = make("SOLVER.GRAD_ACCUM_STEPS", 3)
    twin = copy.deepcopy(net)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    batches = torch.randn(5, 4, 3)
    stepped = [steps.backward_and_step(loss_of(net, batch), number, 5) for number, batch in enumerate(batches)]
    assert stepped == [False, False, True, False, True]  # the last two are what is left of the epoch
    for group in (batches[:3], batches[3:]):
        optimizer.zero_grad()
        loss_of(twin, group).backward()
        optimizer.step()
    torch.testing.assert_close(net.weight, twin.weight)


@pytest.mark.parametrize(
    ("pairs", "clip"),
    [
        (("SOLVER.CLIP_GRAD_VAL", 0.01), lambda p: nn.utils.clip_grad_value_(p, 0.01)),
        (("SOLVER.CLIP_GRAD_L2NORM", 0.01), lambda p: nn.utils.clip_grad_norm_(p, 0.01)),
        (("SOLVER.CLIP_GRAD_VAL", None, "SOLVER.CLIP_GRAD_L2NORM", None), lambda p: None),
    ],
)
def test_gradients_are_clipped(pairs, clip):
    net, _, steps = make(*pairs)
    twin = copy.deepcopy(net)
    x = torch.randn(4, 3)
    steps.backward_and_step(loss_of(net, x), 0, 1)
    loss_of(twin, x).backward()
    clip(list(twin.parameters()))
    torch.testing.assert_close(net.weight, twin.weight - 0.1 * twin.weight.grad)


def test_an_overflowing_step_is_left_out_and_the_scale_falls():
    net, _, steps = make("TRAIN.MIXED_PRECISION", True)
    before, scale = net.weight.clone(), steps.scaler.get_scale()
    steps.backward_and_step(loss_of(net, torch.full((4, 3), float("inf"))), 0, 1)
    assert torch.equal(net.weight, before) and steps.scaler.get_scale() < scale
    steps.backward_and_step(loss_of(net, torch.randn(4, 3)), 0, 1)
    assert not torch.equal(net.weight, before)
    other = make("TRAIN.MIXED_PRECISION", True)[2]
    other.scaler.load_state_dict(steps.scaler.state_dict())
    assert other.scaler.get_scale() == steps.scaler.get_scale()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_forward_pass_runs_in_half_precision(dtype):
    cfg = load_cfg(None, ["TRAIN.MIXED_PRECISION", "True", "TRAIN.AMP_DTYPE", dtype])
    with autocast(cfg, CPU):
        assert nn.Linear(3, 2)(torch.randn(4, 3)).dtype == getattr(torch, dtype)
    with autocast(load_cfg(None, []), CPU):
        assert nn.Linear(3, 2)(torch.randn(4, 3)).dtype == torch.float32
