"""Each kernel: its values by hand, what a bin's weights sum to, and its gradient."""

import pytest
import torch

from slowfast_atfr.sgs.bins import assign_bins
from slowfast_atfr.sgs.kernels import (
    KERNEL_REGISTRY,
    delta,
    delta_normalized,
    linear,
    linear_mean,
    linear_normalized,
)
from slowfast_atfr.sgs.similarity import Coordinates

OFFSET = torch.tensor([[[-0.5], [0.0], [0.75], [1.0]]], dtype=torch.float64)  # of four frames from their bins' centres
MEMBERS = torch.tensor([[[1, 1, 1, 0], [0, 0, 0, 1]]], dtype=torch.bool)
KERNELS = sorted(name for name, _ in KERNEL_REGISTRY)


def expect(weights, rows):
    torch.testing.assert_close(weights, torch.tensor([rows], dtype=torch.float64))


def test_by_hand():
    expect(linear(OFFSET, MEMBERS, 1.0), [[0.5, 1.0, 0.25, 0], [0, 0, 0, 0]])
    expect(linear_normalized(OFFSET, MEMBERS, 1.0), [[0.5 / 3, 1 / 3, 0.25 / 3, 0], [0, 0, 0, 0]])
    expect(delta(OFFSET, MEMBERS, 1.0), [[1, 1, 1, 0], [0, 0, 0, 1]])
    expect(delta_normalized(OFFSET, MEMBERS, 1.0), [[1 / 3, 1 / 3, 1 / 3, 0], [0, 0, 0, 1]])
    expect(linear_mean(OFFSET, MEMBERS, 1.0), [[0.51 / 1.78, 1.01 / 1.78, 0.26 / 1.78, 0], [0, 0, 0, 1]])


def test_with_several_coordinates_the_weight_is_the_product():
    offset = torch.tensor([[[-0.5, 0.5], [0.0, 0.25]]], dtype=torch.float64)
    expect(linear(offset, torch.ones(1, 1, 2, dtype=torch.bool), 1.0), [[0.25, 0.75]])


@pytest.mark.parametrize(("kernel", "shares"), [(delta, [1, 1]), (delta_normalized, [3, 1])])
@pytest.mark.parametrize("grad_scale", [1.0, 0.5, 0.0])
def test_delta_kernels_have_a_straight_through_gradient(kernel, shares, grad_scale):
    offset = torch.stack([OFFSET[..., 0], OFFSET[..., 0].flip(1)], -1).requires_grad_()  # two coordinates
    upstream = torch.arange(8, dtype=torch.float64).reshape(1, 2, 4)
    kernel(offset, MEMBERS, grad_scale).backward(upstream)
    expected = [grad_scale * value / (shares[0] if t < 3 else shares[1]) for t, value in enumerate([0, 1, 2, 7])]
    for axis in range(2):
        torch.testing.assert_close(offset.grad[0, :, axis], torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("kernel", KERNELS)
def test_weights_are_zero_outside_members_also_in_rows_that_fill_up(kernel):
    members = torch.cat([MEMBERS, torch.zeros_like(MEMBERS[:, :1])], 1)
    weights = KERNEL_REGISTRY.get(kernel)(OFFSET, members, 1.0)
    assert torch.isfinite(weights).all() and (weights[~members] == 0).all()


@pytest.mark.parametrize("kernel", [linear_mean, delta_normalized])
def test_weights_of_a_bin_sum_to_one(kernel):
    torch.testing.assert_close(kernel(OFFSET, MEMBERS, 1.0).sum(2), torch.ones(1, 2, dtype=torch.float64))


@pytest.mark.parametrize("kernel", [linear, linear_normalized, linear_mean])
@pytest.mark.parametrize("num_axes", [1, 3])
def test_the_gradient_passes_gradcheck_through_bins_and_maximum(kernel, num_axes):
    values = torch.tensor([[0.3, 0.9, 1.7, 2.6, 0.8], [1.0, 0.2, 0.7, 0.1, 0.4]], dtype=torch.float64)
    values = torch.stack([values, 0.31 + values.flip(1), values.square()][:num_axes], -1)
    real, num_bins = torch.ones(2, 5, dtype=torch.bool), torch.tensor([4, 3])

    def weigh(values):
        offset, bins = assign_bins(Coordinates(values, (None,) * num_axes), real, num_bins)
        same = (bins[:, :, None] == bins[:, None, :]).all(-1)  # a row for each frame's bin
        largest = values.detach().amax(1, keepdim=True) == values.detach()
        return kernel(offset, same, 1.0) * ~largest.any(2)[:, None, :] * ~largest.any(2)[:, :, None]

    # the bins of the farthest frames are left out: those sit on the border, where the slope jumps
    assert torch.autograd.gradcheck(weigh, values.requires_grad_())
