"""Frames are picked in each clip on its own, and sizes go with them."""

import pytest
import torch

from slowfast_atfr.packed import lengths_of, pack, sizes_of, unpack, with_sizes

LENGTHS = (3, 2, 5)


@pytest.fixture
def x():
    """Frame t of clip n holds 10 n + t."""
    return pack([(10 * n + torch.arange(float(length))).view(1, -1, 1, 1) for n, length in enumerate(LENGTHS)])


@pytest.mark.parametrize(
    "op, expected",
    [
        (lambda x: x[:, :, 1:], [[1, 2], [11], [21, 22, 23, 24]]),
        (lambda x: x[:, :, ::2], [[0, 2], [10], [20, 22, 24]]),
        (lambda x: x[:, :, x.size(2) // 2 :], [[1, 2], [11], [22, 23, 24]]),
        (lambda x: x[:, :, [-1, 0]], [[2, 0], [11, 10], [24, 20]]),
        (lambda x: x.flip(2), [[2, 1, 0], [11, 10], [24, 23, 22, 21, 20]]),
        (lambda x: x.roll(1, 2), [[2, 0, 1], [11, 10], [24, 20, 21, 22, 23]]),
        (lambda x: x.narrow(2, 0, 2).repeat_interleave(2, 2), [[0, 0, 1, 1], [10, 10, 11, 11], [20, 20, 21, 21]]),
        (lambda x: torch.cat([x[:, :, :1], x], 2), [[0, 0, 1, 2], [10, 10, 11], [20, 20, 21, 22, 23, 24]]),
    ],
)
def test_each_clip_has_its_own(x, op, expected):
    y = op(with_sizes(x, x.joined.flatten().add(1).tolist()))
    assert [clip.flatten().tolist() for clip in unpack(y)] == expected
    assert (sizes_of(y) == y.joined.flatten().numpy() + 1).all(), "the size of each frame stays with it"


def test_one_frame_of_each_clip_is_an_ordinary_tensor(x):
    assert x[:, :, -1].flatten().tolist() == x.select(2, -1).flatten().tolist() == [2, 11, 24]
    assert x.mean((3, 4))[..., x.size(2) // 2].flatten().tolist() == [1, 11, 22]
    assert lengths_of(x[:, :, :1]) == (1, 1, 1)


def test_a_clip_without_frames_is_named(x):
    with pytest.raises(ValueError, match="leaves no frame of clip 1, which has 2. Keep more frames"):
        x[:, :, 2:]
    with pytest.raises(IndexError, match="clip 0 of 3 frames has no such frame"):
        x[:, :, 3]
