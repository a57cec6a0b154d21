"""Which frame is in which bin, which bins are active, in what order; and the sum over each bin."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slowfast_atfr.packed.layout import Layout
from slowfast_atfr.sgs import bins as bins_module
from slowfast_atfr.sgs.bins import NO_FRAME, NON_FINITE, AddUp, assign_bins, block_lengths, plan_bins
from slowfast_atfr.sgs.similarity import Coordinates


def assign(values, real, num_bins, extents=(None,)):
    """values (N, T) on one axis."""
    offset, bins = assign_bins(Coordinates(values[..., None], extents), real, num_bins)
    return offset[..., 0], bins[..., 0]


def bins_of(values, num_bins, extents=(None,)):
    values = torch.tensor([values], dtype=torch.float64)
    real = torch.ones_like(values, dtype=torch.bool)
    offset, bins = assign(values, real, torch.tensor([num_bins]), extents)
    return offset[0], bins[0].tolist()


def plan(bins, blocks, order="bin"):
    """bins (N, T) on one axis."""
    return plan_bins(np.array(bins)[..., None], blocks, order)


def test_bins_by_hand():
    offset, bins = bins_of([0.0, 1.0, 1.9, 2.0, 3.9, 4.0], 4)
    assert bins == [0, 1, 1, 2, 3, 3]  # width 1 over [0, 4]; a border belongs to the bin above, the maximum to the last
    torch.testing.assert_close(offset, torch.tensor([-1.0, -1, 0.8, -1, 0.8, 1], dtype=torch.float64))


def test_a_fixed_extent_does_not_follow_the_largest():
    offset, bins = bins_of([0.0, 1.0, 1.9, 2.0], 4, (8.0,))
    assert bins == [0, 0, 0, 1]
    torch.testing.assert_close(offset, torch.tensor([-1.0, 0, 0.9, -1], dtype=torch.float64))


def test_a_clip_of_zeros_is_one_bin():
    offset, bins = bins_of([0.0, 0.0, 0.0], 8)
    assert bins == [0, 0, 0] and offset.tolist() == [-1, -1, -1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_block_that_is_not_finite_is_marked_throughout(bad):
    similarity = torch.tensor([[1.0, bad], [1.0, 2.0]])
    _, bins = assign(similarity, torch.ones(2, 2, dtype=torch.bool), torch.tensor([2, 2]))
    assert (bins[0] == NON_FINITE).all() and (bins[1] != NON_FINITE).all()


def test_frames_that_are_not_real_count_for_nothing():
    similarity = torch.tensor([[1.0, 2.0, 99.0]])
    real = torch.tensor([[True, True, False]])
    _, bins = assign(similarity, real, torch.tensor([2]))
    assert bins[0].tolist() == [1, 1, NO_FRAME]  # of maximum 2, not 99
    similarity[0, 2] = float("nan")
    _, bins = assign(similarity, real, torch.tensor([2]))
    assert bins[0].tolist() == [1, 1, NO_FRAME]


@given(
    st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=40), st.integers(1, 64), st.sampled_from([0.25, 2, 1024])
)
def test_scaling_by_powers_of_two_moves_no_frame(values, num_bins, scale):
    similarity = torch.tensor([values], dtype=torch.float32).clamp(min=1e-20)
    real = torch.ones_like(similarity, dtype=torch.bool)
    _, bins = assign(similarity, real, torch.tensor([num_bins]))
    _, scaled = assign(similarity * scale, real, torch.tensor([num_bins]))
    assert torch.equal(bins, scaled)


@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=40), st.integers(1, 64))
def test_every_frame_is_in_one_active_bin_and_there_are_at_most_min_of_bins_and_frames(values, num_bins):
    _, bins = bins_of(values, num_bins)
    found = plan([bins], [[len(values)]])
    output = found.output[0].tolist()
    assert [(a < b) - (a > b) for a, b in zip(output, output[1:], strict=False)] == [
        (a < b) - (a > b) for a, b in zip(bins, bins[1:], strict=False)
    ]
    assert set(output) == set(range(found.counts[0])) and found.counts[0] == len(set(bins)) <= min(
        num_bins, len(values)
    )
    assert min(bins) >= 0 and (max(bins) == num_bins - 1 or max(values) == 0)  # the frame of largest Delta


def test_order_by_bin_and_by_mean_time():
    bins = [[3, 3, 0, 1, 0]]  # mean times: bin 3 at 0.5, bin 0 at 3, bin 1 at 3
    assert plan(bins, [[5]], "bin").output.tolist() == [[2, 2, 0, 1, 0]]
    assert plan(bins, [[5]], "time").output.tolist() == [[0, 0, 1, 2, 1]]


def test_a_clips_length_is_the_sum_over_its_blocks():
    found = plan([[0, 1, 2], [5, 5, NO_FRAME], [1, 1, 1]], [[3, 2], [3]])
    assert found.counts == (3, 1, 1) and found.lengths == (4, 1)
    assert found.output.tolist() == [[0, 1, 2], [0, 0, NO_FRAME], [0, 0, 0]]


@given(
    st.integers(1, 4).flatmap(
        lambda axes: st.lists(
            st.lists(st.lists(st.integers(0, 3), min_size=axes, max_size=axes), min_size=1, max_size=9), min_size=1
        )
    ),
    st.sampled_from(["bin", "time"]),
)
def test_cells_are_the_distinct_tuples_in_their_order(blocks, order):
    longest = max(map(len, blocks))
    table = np.full((len(blocks), longest, len(blocks[0][0])), NO_FRAME)
    for row, block in zip(table, blocks, strict=True):
        row[: len(block)] = block
    found = plan_bins(table, [[len(block)] for block in blocks], order)
    for block, output, count in zip(blocks, found.output, found.counts, strict=True):
        times = {tuple(cell): [t for t, other in enumerate(block) if other == cell] for cell in block}
        cells = sorted(times)
        if order == "time":
            cells = sorted(cells, key=lambda cell: sum(times[cell]) / len(times[cell]))
        assert output[: len(block)].tolist() == [cells.index(tuple(cell)) for cell in block] and count == len(cells)
    assert found.lengths == found.counts


def test_a_grid_that_no_integer_could_number_costs_what_its_frames_cost():
    frames = np.random.default_rng(0).integers(0, 2**31 - 1, (3, 40, 8), dtype=np.int32)  # (2^31)^8 cells
    frames[:, 20:] = frames[:, :20]
    found = plan_bins(frames, [[40]] * 3, "bin")
    assert found.counts == (20, 20, 20)
    assert (found.output[:, :20] == found.output[:, 20:]).all()


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


@pytest.fixture
def members():
    """Weights of blocks of 3, 1 and 4 frames in 2, 1 and 3 bins, their frames, and what AddUp wants to know besides."""
    lengths, counts = (3, 1, 4), (2, 1, 3)
    output = np.array([[1, 0, 1, NO_FRAME], [0, NO_FRAME, NO_FRAME, NO_FRAME], [2, 0, 2, 1]])
    mask = torch.from_numpy(output)[:, None, :] == torch.arange(3)[:, None]
    weights = torch.randn(3, 3, 4, dtype=torch.float64) * mask
    return weights, torch.randn(8, 5, dtype=torch.float64), (Layout(lengths), Layout(counts).stacked(), output)


def test_adding_up_is_the_block_diagonal_product_and_passes_gradcheck(members):
    weights, frames, known = members
    layout, active, _ = known
    blocks = [w[:count, :length] for w, length, count in zip(weights, layout.lengths, active.lengths, strict=True)]
    torch.testing.assert_close(AddUp.apply(weights, frames, *known), torch.block_diag(*blocks) @ frames)
    mask = weights != 0  # the gradient of other weights is of no use
    leaves = weights.requires_grad_(), frames.requires_grad_()
    torch.autograd.gradcheck(lambda w, x: AddUp.apply(w * mask, x, *known), leaves)


def test_products_and_sums_frame_by_frame_agree(members, monkeypatch):
    weights, frames, known = members
    mask, found = weights != 0, []
    for one_by_one in (True, False):
        monkeypatch.setattr(bins_module, "_one_by_one", lambda _, value=one_by_one: value)
        leaves = [weights.clone().requires_grad_(), frames.clone().requires_grad_()]
        out = AddUp.apply(leaves[0] * mask, leaves[1], *known)
        found.append((out, *torch.autograd.grad(out.sin().sum(), leaves)))
    for ours, product in zip(*found, strict=True):
        torch.testing.assert_close(ours, product)


def test_bins_can_share_frames(monkeypatch):
    shares = np.array([[[1, 0.5, 0, 0], [0, 0.5, 1, 0]], [[1, 1, 1, 0.25], [0, 0, 0, 0.75]]])
    weights, frames = torch.from_numpy(shares), torch.randn(7, 5, dtype=torch.float64)
    known = Layout((3, 4)), Layout((2, 2)).stacked(), shares
    expected = torch.block_diag(weights[0, :, :3], weights[1]) @ frames
    for one_by_one in (True, False):
        monkeypatch.setattr(bins_module, "_one_by_one", lambda _, value=one_by_one: value)
        torch.testing.assert_close(AddUp.apply(weights, frames, *known), expected)
        leaves = weights.clone().requires_grad_(), frames.clone().requires_grad_()
        torch.autograd.gradcheck(lambda w, x: AddUp.apply(w * (weights > 0), x, *known), leaves)


def test_half_precision_rounds_a_sum_once():
    frames, weights = torch.ones(300, 2, dtype=torch.bfloat16), torch.ones(1, 1, 300, dtype=torch.bfloat16)
    out = AddUp.apply(weights, frames, Layout((300,)), Layout((1,)).stacked(), np.zeros((1, 300), np.int64))
    assert out.float().tolist() == [[300, 300]]  # one by one it would stop at 256
