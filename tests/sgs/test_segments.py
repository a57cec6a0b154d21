"""Cuts that lose least: against all cuts there are, and what further segments save."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slowfast_atfr.sgs.segments import (
    Cuts,
    gains,
    map_weights,
    motion_curve,
    motion_losses,
    segment_losses,
    size_penalty,
    squared_distances,
    typical_step,
)

RNG = np.random.default_rng(0)


def losses_of(features, sizes):
    return segment_losses(squared_distances(torch.as_tensor(features)).numpy(), sizes)


def all_cuts(maps, count):
    return [(0, *cut, maps) for cut in itertools.combinations(range(1, maps), count - 1)]


def test_a_segment_loses_the_weighted_variance_of_its_frames():
    features, sizes = RNG.normal(size=(2, 6, 3)), np.array([[1, 2, 1, 3, 1, 1], [1, 1, 1, 1, 0, 0.0]])
    losses = losses_of(features, sizes)
    for block, begin, end in ((0, 0, 6), (0, 2, 4), (0, 3, 4), (1, 1, 4)):
        weights = sizes[block, begin:end, None]
        frames = features[block, begin:end]
        mean = (frames * weights).sum(0) / weights.sum()
        assert losses[block, begin, end] == pytest.approx((weights * (frames - mean) ** 2).sum(), abs=1e-12)
    assert (losses[:, np.tril_indices(7)[0], np.tril_indices(7)[1]] == 0).all()


def test_a_segment_in_motion_loses_the_square_of_its_share_of_time():
    """A step of a fifth of the typical one is 4/25 of motion, and steps between longer maps take longer."""
    steps = np.array([[2.0, 0.2, 0, 1, 0.6], [3, 3, 0, 0, 0]])
    times = np.array([[1, 1, 1, 2, 1.0], [1, 1, 0, 0, 0]])
    losses = motion_losses(steps, times, np.array([1.0, 9.0]))
    moved = np.array([1, 0.16, 0, 2, 1]) / 6
    for begin, end in ((0, 6), (1, 4), (3, 5), (0, 1), (4, 4)):
        assert losses[0, begin, end] == pytest.approx(moved[begin : max(begin, end - 1)].sum() ** 2, abs=5e-4)
    assert losses[1, 0, 3] == 1 and losses[1, 1, 3] == 0.25 and losses[1, 0, 6] == 1 and losses[1, 3, 2] == 0
    assert not motion_losses(np.zeros((1, 3)), np.ones((1, 3)), np.zeros(1)).any()


def test_the_typical_step_is_that_of_motion():
    steps = np.array([[2.0, 2, 2, 2], [2, 0, 0, 2], [2, 2, 2, 20], [0, 0, 0, 0], [2, 0.02, 0.02, 0.02]])
    even, pausing, outlier, static, noisy = typical_step(steps, np.ones_like(steps))
    assert even == pytest.approx(2) == pausing and static == 0 and 2 < outlier < 10 and 1 < noisy < 2


def test_the_number_of_segments_follows_the_time_of_motion():
    """The price at which a block that moves throughout has 6 segments of 21 maps gives half of it, a third, .. less."""
    moved, lengths = np.array([1, 0.5, 0.25, 0]) ** 2, np.full(4, 21)
    curve = motion_curve(moved, lengths, 21)
    assert curve[0, [0, 20]].tolist() == [1, 0] and curve[2, 5] == 0 < curve[2, 4] and (np.diff(curve) <= 0).all()
    steps = gains(curve)
    price = steps[0, 4:6].mean()
    assert (1 + (steps > price).sum(1)).tolist() == [6, 3, 2, 1]


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), penalty=st.sampled_from([0.0, 0.5, 5.0]))
def test_no_other_cuts_cost_less(seed, penalty):
    rng, lengths = np.random.default_rng(seed), np.array([6, 4])
    sizes = (np.arange(6) < lengths[:, None]).astype(float)
    losses = losses_of(rng.normal(size=(2, 6, 2)) * sizes[..., None], sizes)
    costs = losses + penalty * size_penalty(lengths, 6)
    cuts = Cuts(costs, losses, lengths, 6)
    for block, maps in enumerate(lengths):
        for count in range(1, maps + 1):
            segments = cuts.segments(np.minimum(count, lengths))[block, :maps]
            assert segments[0] == 0 and segments[-1] == count - 1 and set(np.diff(segments)) <= {0, 1}
            ends = [0, *(np.flatnonzero(np.diff(segments)) + 1), maps]
            own = sum(costs[block, a, b] for a, b in itertools.pairwise(ends))
            best = min(sum(costs[block, a, b] for a, b in itertools.pairwise(other)) for other in all_cuts(maps, count))
            assert own == pytest.approx(best, abs=1e-9)
            lost = sum(losses[block, a, b] for a, b in itertools.pairwise(ends))
            assert cuts.curve[block, count - 1] == pytest.approx(lost, abs=1e-9)


def test_a_high_penalty_makes_segments_of_equal_length():
    lengths = np.array([12, 7])
    real = (np.arange(12) < lengths[:, None]).astype(float)
    losses = losses_of(RNG.normal(size=(2, 12, 3)), real)
    cuts = Cuts(losses + 1e6 * size_penalty(lengths, 12), losses, lengths, 4)
    for row, maps in zip(cuts.segments(np.array([4, 4])), lengths, strict=True):
        counts = np.bincount(row[:maps])
        assert len(counts) == 4 and counts.max() - counts.min() <= 1


def test_cutting_while_a_step_saves_more_than_the_threshold_is_least_loss_plus_price():
    curve = -np.sort(-RNG.random((50, 9)), axis=1)
    curve[:, -1] = 0
    steps = gains(curve)
    assert (np.diff(steps, axis=1) <= 1e-12).all() and steps.sum(1) == pytest.approx(curve[:, 0])
    for price in (0.01, 0.05, 0.1, 0.3):
        by_steps = (steps > price).sum(1)
        assert np.array_equal(by_steps, (curve + price * np.arange(9)).argmin(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_middle_is_one_frame_whatever_the_rounding(dtype):
    """Sizes that are the same from both ends: half of the time is at the border of two frames."""
    generator = torch.Generator().manual_seed(0)
    half = torch.rand(500, 1, 8, generator=generator, dtype=dtype) + 0.1
    sizes = torch.cat([half, half.flip(2)], dim=2)
    members = torch.ones(500, 2, 16, dtype=torch.bool)
    members[:, 1] = False
    weights = map_weights(members, sizes, "middle")
    assert (weights[:, 0].sum(1) == 1).all() and not weights[:, 1].any()
    assert set(weights[:, 0].argmax(1).tolist()) <= {7, 8}


def test_one_map_can_be_cut_nowhere():
    cuts = Cuts(np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), np.array([1]), 5)
    assert cuts.segments(np.array([1])).tolist() == [[0]] and gains(cuts.curve).shape == (1, 0)
