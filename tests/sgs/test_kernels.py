"""Each kernel: its values by hand, what a bin's weights sum to, and its gradient."""

import pytest
import torch

from slowfast_atfr.sgs.bins import assign_bins
from slowfast_atfr.sgs.kernels import KERNEL_REGISTRY, delta, linear, linear_mean

POSITION = torch.tensor([[0.5, 1.0, 1.75, 4.0]], dtype=torch.float64)  # u of four frames
CENTERS = torch.tensor([[1.0, 3.0]], dtype=torch.float64)
MEMBERS = torch.tensor([[[1, 1, 1, 0], [0, 0, 0, 1]]], dtype=torch.bool)


def test_linear_by_hand():
    weights = linear(POSITION, CENTERS, MEMBERS, 1.0)
    torch.testing.assert_close(weights, torch.tensor([[[0.5, 1.0, 0.25, 0], [0, 0, 0, 0]]], dtype=torch.float64))


def test_linear_mean_by_hand():
    weights = linear_mean(POSITION, CENTERS, MEMBERS, 1.0)
    raw = torch.tensor([0.51, 1.01, 0.26], dtype=torch.float64)
    torch.testing.assert_close(weights[0, 0, :3], raw / 1.78)
    assert weights[0, 1].tolist() == [0, 0, 0, 1]  # the frame that `linear` loses


def test_delta_is_one_with_a_straight_through_gradient():
    position = POSITION.clone().requires_grad_()
    weights = delta(position, CENTERS, MEMBERS, 0.5)
    assert torch.equal(weights, MEMBERS.double())
    upstream = torch.arange(8, dtype=torch.float64).reshape(1, 2, 4)
    weights.backward(upstream)
    assert position.grad.tolist() == [[0, 0.5, 1.0, 3.5]]


@pytest.mark.parametrize("kernel", sorted(name for name, _ in KERNEL_REGISTRY))
def test_weights_are_zero_outside_members_also_in_rows_that_fill_up(kernel):
    members = torch.cat([MEMBERS, torch.zeros_like(MEMBERS[:, :1])], 1)
    centers = torch.cat([CENTERS, torch.full((1, 1), -1.0)], 1)
    weights = KERNEL_REGISTRY.get(kernel)(POSITION, centers, members, 1.0)
    assert torch.isfinite(weights).all() and (weights[~members] == 0).all()


def test_weights_of_linear_mean_sum_to_one_in_every_active_bin():
    weights = linear_mean(POSITION, CENTERS, MEMBERS, 1.0)
    torch.testing.assert_close(weights.sum(2), torch.ones(1, 2, dtype=torch.float64))


@pytest.mark.parametrize("kernel", [linear, linear_mean])
def test_the_gradient_passes_gradcheck_through_bins_and_maximum(kernel):
    similarity = torch.tensor([[0.3, 0.9, 1.7, 2.6, 0.8], [1.0, 0.2, 0.7, 0.1, 0.4]], dtype=torch.float64)
    real, num_bins = torch.ones(2, 5, dtype=torch.bool), torch.tensor([4, 3])

    def weigh(similarity):
        position, bins = assign_bins(similarity, real, num_bins)
        active = torch.arange(4)[None].expand(2, 4)
        return kernel(position, 2.0 * active + 1, active[:, :, None] == bins[:, None, :], 1.0)[:, :3]

    # the last bin is left out: its farthest frame sits on the border, where the slope jumps
    assert torch.autograd.gradcheck(weigh, similarity.requires_grad_())
