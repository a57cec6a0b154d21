"""Which frame is in which bin, which bins are active, in what order; and the sum over each bin."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slowfast_atfr.sgs.bins import NO_BIN, NO_FRAME, NON_FINITE, AddUp, assign_bins, block_lengths, plan_bins


def bins_of(values, num_bins):
    similarity = torch.tensor([values], dtype=torch.float64)
    position, bins = assign_bins(similarity, torch.ones_like(similarity, dtype=torch.bool), torch.tensor([num_bins]))
    return position[0], bins[0].tolist()


def test_bins_by_hand():
    position, bins = bins_of([0.0, 1.0, 1.9, 2.0, 3.9, 4.0], 4)
    assert bins == [0, 1, 1, 2, 3, 3]  # width 1 over [0, 4]; a border belongs to the bin above, the maximum to the last
    torch.testing.assert_close(position, torch.tensor([0.0, 2, 3.8, 4, 7.8, 8], dtype=torch.float64))


def test_a_clip_of_zeros_is_one_bin():
    position, bins = bins_of([0.0, 0.0, 0.0], 8)
    assert bins == [0, 0, 0] and position.tolist() == [0, 0, 0]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_block_that_is_not_finite_is_marked_throughout(bad):
    similarity = torch.tensor([[1.0, bad], [1.0, 2.0]])
    _, bins = assign_bins(similarity, torch.ones(2, 2, dtype=torch.bool), torch.tensor([2, 2]))
    assert (bins[0] == NON_FINITE).all() and (bins[1] != NON_FINITE).all()


def test_frames_that_are_not_real_count_for_nothing():
    similarity = torch.tensor([[1.0, 2.0, 99.0]])
    real = torch.tensor([[True, True, False]])
    _, bins = assign_bins(similarity, real, torch.tensor([2]))
    assert bins[0].tolist() == [1, 1, NO_FRAME]  # of maximum 2, not 99
    similarity[0, 2] = float("nan")
    _, bins = assign_bins(similarity, real, torch.tensor([2]))
    assert bins[0].tolist() == [1, 1, NO_FRAME]


@given(
    st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=40), st.integers(1, 64), st.sampled_from([0.25, 2, 1024])
)
def test_scaling_by_powers_of_two_moves_no_frame(values, num_bins, scale):
    similarity = torch.tensor([values], dtype=torch.float32).clamp(min=1e-20)
    real = torch.ones_like(similarity, dtype=torch.bool)
    _, bins = assign_bins(similarity, real, torch.tensor([num_bins]))
    _, scaled = assign_bins(similarity * scale, real, torch.tensor([num_bins]))
    assert torch.equal(bins, scaled)


@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=40), st.integers(1, 64))
def test_every_frame_is_in_one_active_bin_and_there_are_at_most_min_of_bins_and_frames(values, num_bins):
    _, bins = bins_of(values, num_bins)
    plan = plan_bins(np.array([bins]), [[len(values)]], "bin")
    active = plan.active[0, : plan.counts[0]].tolist()
    assert set(bins) == set(active) and active == sorted(active)
    assert plan.counts[0] <= min(num_bins, len(values)) and 0 <= min(active) <= max(active) < num_bins
    assert num_bins - 1 in active or max(values) == 0  # the frame of largest Delta


def test_order_by_bin_and_by_mean_time():
    bins = np.array([[3, 3, 0, 1, 0]])  # mean times: bin 3 at 0.5, bin 0 at 3, bin 1 at 3
    assert plan_bins(bins, [[5]], "bin").active.tolist() == [[0, 1, 3]]
    assert plan_bins(bins, [[5]], "time").active.tolist() == [[3, 0, 1]]


def test_a_clips_length_is_the_sum_over_its_blocks():
    bins = np.array([[0, 1, 2], [5, 5, -9], [1, 1, 1]])
    plan = plan_bins(bins, [[3, 2], [3]], "bin")
    assert plan.counts == (3, 1, 1) and plan.lengths == (4, 1)
    assert plan.active.tolist() == [[0, 1, 2], [5, NO_BIN, NO_BIN], [1, NO_BIN, NO_BIN]]


@pytest.mark.parametrize(
    ("lengths", "size", "expected"),
    [
        ((64, 16), 8, ((8,) * 8, (8, 8))),
        ((5, 2, 4), 4, ((4, 1), (2,), (4,))),
        ((5, 2), 0, ((5,), (2,))),
    ],
)
def test_blocks(lengths, size, expected):
    assert block_lengths(lengths, size) == expected


def test_adding_up_is_the_block_diagonal_product_and_passes_gradcheck():
    lengths, counts = (3, 1, 4), (2, 1, 3)
    weights = torch.randn(3, 3, 4, dtype=torch.float64, requires_grad=True)
    frames = torch.randn(8, 5, dtype=torch.float64, requires_grad=True)
    out = AddUp.apply(weights, frames, lengths, counts)
    blocks = [w[:count, :length] for w, length, count in zip(weights, lengths, counts, strict=True)]
    torch.testing.assert_close(out, torch.block_diag(*blocks) @ frames)
    torch.autograd.gradcheck(lambda w, x: AddUp.apply(w, x, lengths, counts), (weights, frames))
