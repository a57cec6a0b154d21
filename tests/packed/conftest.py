"""The one property everything here is about: packed together, clips come out as each would alone."""

import pytest
import torch
from torch import nn

from slowfast_atfr.packed import PackedClips, from_frames, pack, unpack
from slowfast_atfr.packed.clips import packed_strides


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """These tests are thousands of tiny ops: a second thread is of no use to them, and on a busy machine it waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def make_clips():
    def make(lengths, channels=4, size=5):
        return [torch.randn(channels, length, size, size, dtype=torch.float64) for length in lengths]

    return make


@pytest.fixture
def check_alone(make_clips):
    """Results (and their strides) and gradients of `op` on clips together against those on each clip alone."""

    def check(op, lengths, channels=4, size=5, round_to=1, alone_op=None):
        parameters = list(op.parameters()) if isinstance(op, nn.Module) else []
        clips = make_clips(lengths, channels, size)
        data = pack(clips).joined.requires_grad_()
        together = op(PackedClips(data, tuple(lengths), round_to=round_to))
        clips = [clip.requires_grad_() for clip in clips]
        alone = [(alone_op or op)(clip[None]) for clip in clips]

        packed = isinstance(together, PackedClips)
        if packed:
            assert together.round_to == round_to
            assert together.joined.stride() == packed_strides(together.joined.shape)
        results = [result[None] for result in unpack(together)] if packed else together.split(1)
        assert len(results) == len(alone)
        for result, expected in zip(results, alone, strict=True):
            torch.testing.assert_close(result, expected)

        weights = [torch.randn_like(result) for result in alone]
        loss = sum((weight * result).sum() for weight, result in zip(weights, results, strict=True))
        grad, *parameter_grads = torch.autograd.grad(loss, [data, *parameters])
        loss = sum((weight * result).sum() for weight, result in zip(weights, alone, strict=True))
        expected = torch.autograd.grad(loss, [*clips, *parameters])
        frames = grad.permute(0, 2, 3, 4, 1).squeeze(0)
        for clip_grad, alone_grad in zip(unpack(from_frames(frames, lengths)), expected, strict=False):
            torch.testing.assert_close(clip_grad, alone_grad)
        for together_grad, alone_grad in zip(parameter_grads, expected[len(clips) :], strict=True):
            torch.testing.assert_close(together_grad, alone_grad)

    return check
