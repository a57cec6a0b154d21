import pytest
import torch

from slowfast_atfr.packed.copies import place, starts_of, take


@pytest.fixture
def frames():
    return torch.randn(6, 2, 3, 4, dtype=torch.float64, requires_grad=True)


def test_place_fills_what_no_clip_covers(frames):
    row = place(frames, (1, 2, 3), (2, 3, 7), 11, fill=-1.0)
    assert row.shape == (11, 2, 3, 4) and row.is_contiguous()
    assert row[[0, 1, 5, 6, 10]].eq(-1).all()
    assert torch.equal(row[[2, 3, 4, 7, 8, 9]], frames)


def test_take_is_the_inverse_of_place(frames):
    assert torch.equal(take(place(frames, (1, 2, 3), (2, 3, 7), 11), (1, 2, 3), (2, 3, 7)), frames)


def test_nothing_is_copied_when_nothing_moves(frames):
    assert place(frames, (4, 2), (0, 4), 6) is frames
    assert take(frames, (4, 2), (0, 4)) is frames


def test_gradients_are_the_inverse_copy(frames):
    assert torch.autograd.gradcheck(lambda f: place(f, (4, 2), (1, 6), 9), frames)
    assert torch.autograd.gradcheck(lambda f: take(f, (2, 1), (1, 4)), frames)
    assert torch.autograd.gradgradcheck(lambda f: take(place(f, (4, 2), (1, 6), 9), (3, 1), (0, 7)) ** 2, frames)


def test_frames_in_another_layout_are_copied_right(frames):
    other = frames.detach().permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert not other.is_contiguous()
    assert torch.equal(place(other, (4, 2), (0, 5), 8), place(frames, (4, 2), (0, 5), 8))


def test_results_may_be_changed_in_place(frames):
    row = place(frames, (4, 2), (1, 6), 9).permute(0, 3, 1, 2)
    row.relu_()
    row.sum().backward()
    assert torch.equal(frames.grad, (frames > 0).double())


def test_starts_of():
    assert starts_of((3, 1, 2)) == (0, 3, 4)
