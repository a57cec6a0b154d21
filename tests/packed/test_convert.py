import pytest
import torch
import torch.nn.functional as F

from slowfast_atfr.packed import (
    PackedClips,
    apply_framewise,
    lengths_of,
    pack,
    pack_dense,
    pad_lengths,
    per_length,
    to_dense,
    unpack,
)
from slowfast_atfr.packed.clips import packed_strides


@pytest.fixture
def dense():
    return torch.randn(3, 4, 6, 5, 5, dtype=torch.float64)


def test_dense_and_back(dense):
    for clips in (dense, dense.contiguous(memory_format=torch.channels_last_3d)):
        x = pack_dense(clips, round_to=4)
        assert lengths_of(x) == lengths_of(clips) == (6, 6, 6) and x.round_to == 4
        back = to_dense(x)
        assert torch.equal(back, dense) and back.is_contiguous(memory_format=torch.channels_last_3d)
        assert back.data_ptr() == x.joined.data_ptr()
        assert (x.joined.data_ptr() == clips.data_ptr()) == clips.is_contiguous(memory_format=torch.channels_last_3d)
    assert to_dense(dense) is dense


def test_ragged_clips_are_not_dense(make_clips):
    with pytest.raises(ValueError, match=r"\(2, 3\).*pad_lengths"):
        to_dense(pack(make_clips((2, 3))))


def test_one_clip_has_the_strides_of_its_layout(make_clips):
    assert to_dense(pack(make_clips((7,)))).stride() == packed_strides((1, 4, 7, 5, 5))


def test_native_runs_on_both(dense, make_clips):
    x = pack(make_clips((2, 3)))
    assert torch.equal(apply_framewise(torch.exp, dense), dense.exp())
    assert torch.equal(apply_framewise(torch.clamp, x, 0, max=1).joined, x.joined.clamp(0, 1))
    with pytest.raises(ValueError, match="tile"):
        apply_framewise(lambda data: data[:, :, 1:], x)


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


def test_native_carries_the_gradient_of_an_autograd_function(make_clips):
    x = pack(make_clips((2, 3))).requires_grad_()
    apply_framewise(Double.apply, x).sum().backward()
    assert x.joined.grad.eq(2).all()


@pytest.mark.parametrize("where, before", [("center", (1, 0, 1)), ("end", (0, 0, 0))])
def test_pad_lengths(make_clips, where, before):
    clips = make_clips((2, 3, 1))
    x = PackedClips(pack(clips).joined.requires_grad_(), (2, 3, 1), round_to=2)
    padded = pad_lengths(x, [5, 3, 3], where)
    assert padded.lengths == (5, 3, 3) and padded.round_to == 2
    for clip, result, start in zip(clips, unpack(padded), before, strict=True):
        expected = F.pad(clip, (0, 0, 0, 0, start, result.shape[1] - clip.shape[1] - start))
        assert torch.equal(result, expected)
    (grad,) = torch.autograd.grad(padded.joined, x.joined, torch.ones_like(padded.joined))
    assert grad.eq(1).all() and grad.stride() == x.joined.stride()


def test_pad_lengths_of_dense_clips(dense):
    assert torch.equal(pad_lengths(dense, (9, 9, 9)), F.pad(dense, (0, 0, 0, 0, 1, 2)))
    ragged = pad_lengths(dense, (6, 8, 7), "end")
    assert ragged.lengths == (6, 8, 7)
    assert torch.equal(unpack(ragged)[1], F.pad(dense[1], (0, 0, 0, 0, 0, 2)))


def test_pad_lengths_leaves_alone_what_fits(dense):
    x = pack_dense(dense)
    assert pad_lengths(x, (6, 6, 6)) is x and pad_lengths(dense, (6, 6, 6)) is dense


@pytest.mark.parametrize(
    "lengths, where, message",
    [
        ((6, 5, 6), "center", "clip 1 has 6 frames and cannot be padded to 5"),
        ((6, 6), "end", "2 lengths"),
        ((7,) * 3, "left", "'left'"),
    ],
)
def test_pad_lengths_errors(dense, lengths, where, message):
    for x in (dense, pack_dense(dense)):
        with pytest.raises(ValueError, match=message):
            pad_lengths(x, lengths, where)


def test_per_length_calls_once_per_length_and_keeps_the_order(check_alone):
    calls = []

    def attend(clips):  # every frame becomes a mix of all frames of its clip
        calls.append(tuple(clips.shape[:3:2]))
        return torch.einsum("ncthw,ncshw->ncthw", clips, clips.tanh())

    check_alone(lambda x: per_length(x, attend), (3, 5, 3, 1, 5, 3), round_to=2)
    assert calls[:3] == [(3, 3), (2, 5), (1, 1)]


def test_per_length_may_change_every_size(check_alone):
    check_alone(lambda x: per_length(x, lambda clips: clips[:, :2, ::2, 1:, :3]), (3, 5, 3, 2))


def test_per_length_takes_other_clips_of_other_sizes(make_clips):
    clips, others = make_clips((3, 5, 3, 3)), [clip[:2, ::2, 1:] for clip in make_clips((2, 4, 6, 2))]

    def fn(a, b):
        seen.append((a.shape[2], b.shape[2], len(a)))
        return a * b.sum((1, 2, 3, 4), keepdim=True)

    seen = []
    together = unpack(per_length(pack(clips), fn, pack(others)))
    assert sorted(seen) == [(3, 1, 2), (3, 3, 1), (5, 2, 1)]  # lengths of both, and clips of these lengths
    for clip, other, out in zip(clips, others, together, strict=True):
        torch.testing.assert_close(out, fn(clip[None], other[None])[0])
    assert per_length(clips[0][None], lambda a, b: b, 7) == 7
    with pytest.raises(ValueError, match="zip"):
        per_length(pack(clips), fn, pack(others[:2]))


def test_per_length_of_vectors_is_a_tensor(check_alone, make_clips):
    check_alone(lambda x: per_length(x, lambda clips: clips.amax((2, 3, 4))), (3, 5, 3, 1))
    assert per_length(pack(make_clips((3, 5, 3))), lambda clips: clips.sum((1, 2, 3, 4))).shape == (3,)


def test_per_length_hands_over_dense_clips(dense):
    assert per_length(dense, lambda clips: clips) is dense


@pytest.mark.parametrize(
    "fn, message",
    [
        (lambda clips: clips.sum(), r"got 2 clips of 3 frames and returned \(\)"),
        (lambda clips: clips[:1], r"returned \(1, 4, 3, 5, 5\)"),
        (lambda clips: (clips, clips), "returned tuple"),
        (lambda clips: clips if clips.shape[2] == 3 else clips.mean(2), r"\[4, 5\] dimensions"),
    ],
)
def test_per_length_errors(make_clips, fn, message):
    with pytest.raises(ValueError, match=message):
        per_length(pack(make_clips((3, 5, 3))), fn)
