import pytest
import torch

from slowfast_atfr.packed.cpu_quirks import WIDE_FRAME
from slowfast_atfr.packed.gather_scatter import gather_clips, pool, scatter_clips, spread
from slowfast_atfr.packed.layout import Layout, Placement, starts_of
from tests.covering import every_pair


@pytest.fixture
def frames():
    return torch.randn(6, 2, 3, 4, dtype=torch.float64, requires_grad=True)


def test_place_fills_what_no_clip_covers(frames):
    row = scatter_clips(frames, Placement((1, 2, 3), (2, 3, 7), 11), fill=-1.0)
    assert row.shape == (11, 2, 3, 4) and row.is_contiguous()
    assert row[[0, 1, 5, 6, 10]].eq(-1).all()
    assert torch.equal(row[[2, 3, 4, 7, 8, 9]], frames)


def test_take_is_the_inverse_of_place(frames):
    for where in (Placement((1, 2, 3), (2, 3, 7), 11), Placement((4, 2), (2, 0), 6)):
        assert torch.equal(gather_clips(scatter_clips(frames, where), where), frames)


def test_clips_may_stand_in_another_order(frames):
    where = Placement((4, 2), (2, 0), 6)
    assert torch.equal(gather_clips(frames, where), torch.cat([frames[2:], frames[:2]]))
    assert torch.autograd.gradcheck(lambda f: gather_clips(f, where), frames)


def test_nothing_is_copied_when_nothing_moves(frames):
    where = Placement((4, 2), (0, 4), 6)
    assert scatter_clips(frames, where) is frames and gather_clips(frames, where) is frames


def test_gradients_are_the_inverse_copy(frames):
    where, part = Placement((4, 2), (1, 6), 9), Placement((2, 1), (1, 4), 6)
    assert torch.autograd.gradcheck(lambda f: scatter_clips(f, where), frames)
    assert torch.autograd.gradcheck(lambda f: gather_clips(f, part), frames)
    inside = Placement((3, 1), (0, 7), 9)
    assert torch.autograd.gradgradcheck(lambda f: gather_clips(scatter_clips(f, where), inside) ** 2, frames)


def test_frames_in_another_layout_are_copied_right(frames):
    other, where = frames.detach().permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1), Placement((4, 2), (0, 5), 8)
    assert not other.is_contiguous()
    assert torch.equal(scatter_clips(other, where), scatter_clips(frames, where))


def test_results_may_be_changed_in_place(frames):
    row = scatter_clips(frames, Placement((4, 2), (1, 6), 9)).permute(0, 3, 1, 2)
    row.relu_()
    row.sum().backward()
    assert torch.equal(frames.grad, (frames > 0).double())


@pytest.mark.parametrize(
    ("lengths", "op", "inner"), every_pair([(1, 3, 2), (2, 2, 2), (6,)], ["sum", "mean"], [(), (1, 2), (3,)])
)
def test_pools_of_clips_and_their_gradients(frames, lengths, op, inner):
    layout = Layout(lengths)
    pooled = pool(frames, layout, inner, op, torch.float64)
    alone = [getattr(clip, op)((0, *inner), keepdim=True) for clip in frames.split(lengths)]
    torch.testing.assert_close(pooled, torch.cat(alone), rtol=1e-14, atol=1e-14)
    assert torch.autograd.gradcheck(lambda f: pool(f, layout, inner, op, torch.float64), frames)
    assert torch.autograd.gradgradcheck(lambda f: pool(f, layout, inner, op, torch.float64) ** 2, frames)


def test_wide_frames_are_added_up_alike():
    frames, layout = torch.randn(6, 1, 1, WIDE_FRAME, dtype=torch.float64), Layout((1, 3, 2))
    for op in ("sum", "mean"):
        narrow = pool(frames[..., : WIDE_FRAME - 1], layout, (), op, torch.float64)
        torch.testing.assert_close(pool(frames, layout, (), op, torch.float64)[..., :-1], narrow)


def test_what_is_not_finite_stays_in_its_clip(frames):
    frames = frames.detach()
    frames[0] = float("inf")
    assert pool(frames, Layout((1, 3, 2)), (1, 2), "mean", torch.float64)[1:].isfinite().all()
    placed = scatter_clips(frames, Placement((1, 5), (2, 4), 10))
    assert placed[[0, 1, 3, 9]].eq(0).all()


def test_entries_of_clips_are_spread_over_their_frames(frames):
    entries, layout = frames[:3].detach().requires_grad_(), Layout((1, 3, 2))
    assert torch.equal(spread(entries, layout), entries[[0, 1, 1, 1, 2, 2]])
    assert torch.autograd.gradcheck(lambda e: spread(e, layout), entries)
    assert torch.autograd.gradgradcheck(lambda e: spread(e, layout) ** 2, entries)
    half = entries.detach().bfloat16().requires_grad_()
    (grad,) = torch.autograd.grad(spread(half, Layout((1, 300, 2))).float().sum(), half)
    assert grad[1].eq(300).all()  # which bfloat16 cannot count to, one by one


def test_starts_of():
    assert starts_of((3, 1, 2)) == (0, 3, 4)
