"""Segments that share frames: every frame is given out once, every segment has the middle of a frame."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slowfast_atfr.sgs.overlap import map_extents, overlap
from slowfast_atfr.sgs.segments import motion_losses, segment_losses


def losses_of(steps, loss="motion"):
    """(1, T + 1, T + 1) losses of a block of one feature with these steps."""
    steps = np.asarray(steps, float)
    if loss == "motion":
        return motion_losses(steps[None], np.ones((1, len(steps))), np.ones(1))
    places = np.concatenate([[0], steps.cumsum()])
    return segment_losses(np.square(places[:, None] - places)[None], np.ones((1, len(places))))


def shares_of(steps, count, penalty=0.0, loss="motion"):
    counts, lengths = np.array([count]), np.array([len(steps) + 1])
    middle, shares = overlap(map_extents(losses_of(steps, loss), lengths, counts, penalty), counts)
    return middle[0], shares[0]


@given(
    st.lists(st.sampled_from([0, 1e-9, 0.01, 0.3, 1, 50]), min_size=1, max_size=12),
    st.integers(1, 13),
    st.sampled_from([0, 0.1, 1e6]),
    st.sampled_from(["motion", "variance"]),
)
def test_every_frame_is_given_out_once_and_every_segment_has_the_middle_of_one(steps, count, penalty, loss):
    count = min(count, len(steps) + 1)
    middle, shares = shares_of(steps, count, penalty, loss)
    assert shares.shape == (count, len(steps) + 1) and (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(0), 1, rtol=1e-6)
    assert np.array_equal(np.unique(middle), np.arange(count)) and (np.diff(middle) >= 0).all()
    assert (shares[middle, np.arange(len(middle))] > 0).all()
    runs = (shares > 0).astype(int)
    assert (np.abs(np.diff(runs, axis=1, prepend=0, append=0)).sum(1) == 2).all()  # of neighbours


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 12])
def test_a_static_block_is_pooled_uniformly_to_the_bit(count):
    middle, shares = shares_of(np.zeros(11), count)
    expected = np.kron(np.eye(count), np.ones(12 // count))
    assert np.array_equal(shares, expected) and np.array_equal(middle, expected.argmax(0))


def test_a_border_within_a_frame_divides_it():
    _, shares = shares_of(np.ones(2), 2)
    np.testing.assert_allclose(shares, [[1, 0.5, 0], [0, 0.5, 1]])
    _, shares = shares_of(np.ones(11), 4)  # 11 steps: 2.75 in each segment, the outermost frames have half a step
    np.testing.assert_allclose(shares.sum(1), [3.25, 2.75, 2.75, 3.25], rtol=1e-5)


def test_what_does_not_move_is_in_one_segment():
    middle, shares = shares_of([0] * 10 + [1] * 6, 4)
    assert (shares[0, :10] > 1 - 1e-4).all() and (middle[:10] == 0).all()
    assert shares[1:].sum(1).max() < 3


def test_a_large_penalty_pools_uniformly():
    _, shares = shares_of([0, 0, 0, 1, 1], 3, penalty=1e6)
    np.testing.assert_allclose(shares, np.kron(np.eye(3), [1, 1]), atol=1e-5)


def test_a_block_does_not_feel_a_longer_neighbour():
    rows = [np.array([0.2, 1, 0, 3]), np.array([1, 1, 0, 0, 2, 1, 0.0])]
    steps, times = np.zeros((2, 7)), np.zeros((2, 7))
    for index, row in enumerate(rows):
        steps[index, : len(row)], times[index, : len(row)] = row, 1
    lengths, counts = np.array([5, 8]), np.array([3, 5])
    together = overlap(map_extents(motion_losses(steps, times, np.ones(2)), lengths, counts, 0), counts)
    for index, (row, count) in enumerate(zip(rows, counts, strict=True)):
        middle, shares = shares_of(row, count)
        length = len(row) + 1
        assert np.array_equal(together[0][index, :length], middle)
        assert np.array_equal(together[1][index, :count, :length], shares)
        assert not together[1][index, count:].any() and not together[1][index, :, length:].any()
