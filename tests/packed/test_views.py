"""Other dimensions than (N, C, T, H, W), and what comes back: as each clip has it alone."""

import random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_atfr.packed import PackedClips, pack, pack_dense
from slowfast_atfr.packed.views import View

LENGTHS = (2, 5, 1, 5)


def shuffle(x, groups=2):
    """ShuffleNet's, as 3D ports of it have it."""
    n, c, d, h, w = x.data.size()
    x = x.view(n, groups, c // groups, d, h, w)
    return x.permute(0, 2, 1, 3, 4, 5).contiguous().view(n, c, d, h, w)


def shuffle_with_rest(x):
    n, c, t, h, w = x.shape
    return torch.transpose(x.reshape(n, 2, c // 2, t, h, w), 1, 2).reshape(n, -1, t, h, w)


def cbam(x):
    pooled = torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)
    return x * pooled.sum(1, keepdim=True).sigmoid()


def selective(x):
    """SKNet: branches weigh against each other."""
    branches = torch.stack([x, x.tanh()], dim=1)
    weights = branches.sum(1).mean((2, 3, 4)).view(x.size(0), 1, -1, 1, 1, 1)
    return (branches * torch.cat([weights, -weights], 1).softmax(1)).sum(dim=1)


def tokens(x):
    n, c, t, h, w = x.shape
    y = F.layer_norm(x.flatten(2).transpose(1, 2), (c,)) * 2
    return F.linear(y, torch.arange(12.0).view(3, c).to(x.dtype)).transpose(1, 2).reshape(n, 3, t, h, w)


def frames_as_a_batch(x):
    """A 2-D function of frames: b c t h w -> (b t) c h w and back."""
    n, c, t, h, w = x.shape
    y = x.transpose(1, 2).reshape(-1, c, h, w)
    assert isinstance(y, torch.Tensor)
    y = F.max_pool2d(y, 2)
    return y.view(n, t, c, h // 2, w // 2).permute(0, 2, 1, 3, 4)


IDIOMS = {
    "shuffle": shuffle,
    "shuffle, -1": shuffle_with_rest,
    "cbam": cbam,
    "selective kernels": selective,
    "tokens": tokens,
    "frames as a batch": frames_as_a_batch,
    "space to channels": lambda x: (
        x[..., :4, :4]
        .reshape(x.size(0), 4, x.size(2), 2, 2, 2, 2)
        .permute(0, 1, 4, 6, 2, 3, 5)
        .reshape(x.size(0), 16, x.size(2), 2, 2)
    ),
    "mean of positions": lambda x: x.view(x.size(0), x.size(1), -1).mean(2),
    "max of positions": lambda x: x.flatten(2).max(-1)[0],
    "mean of space, then of time": lambda x: x.mean(-1).mean(-1).mean(2),
    "pool space, drop it": lambda x: F.adaptive_avg_pool3d(x, (None, 1, 1)).squeeze(-1).squeeze(-1).mean(-1),
    "norm of space": lambda x: x.flatten(3).amax(3).unsqueeze(-1).unsqueeze(-1),
    "frames first": lambda x: x.transpose(1, 2).relu().transpose(1, 2) * 2,
    "channels last by steps": lambda x: x.permute(0, 2, 3, 4, 1).flatten(2, 3).softmax(-1).mean((1, 2)),
    "row": lambda x: x[:, :, :, 1].unsqueeze(3) + x[..., -1:, :],
    "channel": lambda x: x[:, 1].unsqueeze(1) * x[:, None, 2].squeeze(1).unsqueeze(1),
    "unflatten": lambda x: x.unflatten(1, (2, 2)).sum(1),
    "view_as": lambda x: (x * 2).view_as(x) + x.reshape_as(x),
    "swapaxes": lambda x: torch.swapaxes(x, 3, 4).swapaxes(-1, -2),
    "groups apart": lambda x: torch.stack(x.view(x.size(0), 2, 2, x.size(2), 5, 5).unbind(1), 2).flatten(1, 2),
}


@pytest.mark.parametrize("name", IDIOMS)
def test_each_clip_as_alone(check_alone, name):
    for lengths in (LENGTHS, (3,), (4, 4), (1, 1), (1,)):
        check_alone(lambda x: IDIOMS[name](x * 1), lengths)


def test_clips_come_back_as_packed_clips(make_clips):
    x = pack(make_clips(LENGTHS))
    for name in ("shuffle", "cbam", "selective kernels", "tokens", "frames as a batch", "space to channels"):
        assert isinstance(IDIOMS[name](x), PackedClips), name
    mean = x.mean(1)
    assert isinstance(mean, View) and mean.dim() == 4 and repr(mean.size(1)) == "RaggedLength(2, 5, 1, 5)"
    assert repr(x.flatten(2).shape[2]) == "RaggedLength(50, 125, 25, 125)" and len(mean) == 4


HEADS = [
    lambda x: x.view(x.size(0), -1),
    lambda x: x.flatten(1),
    lambda x: torch.flatten(x, start_dim=1),
    nn.Flatten(),
    lambda x: x.reshape(x.shape[0], -1),
    lambda x: x.squeeze(4).squeeze(3).squeeze(2),
    lambda x: x.squeeze(),
    lambda x: x[:, :, 0, 0, 0],
    lambda x: x.mean((2, 3, 4)),
]


@pytest.mark.parametrize("head", HEADS)
def test_clips_of_one_frame_become_an_ordinary_tensor(check_alone, make_clips, head):
    """The pool of an older head, whose kernel covers every clip, and what comes before its linear layer."""

    def classify(x):
        return F.linear(head(F.avg_pool3d(x, x.data.size()[-3:])), torch.ones(3, 4, dtype=x.dtype))

    assert isinstance(classify(pack(make_clips(LENGTHS))), torch.Tensor)
    if head is not HEADS[6]:  # squeeze() takes the clips from a single one
        check_alone(classify, LENGTHS)


@pytest.mark.parametrize(
    "move",
    [lambda x: x.flatten(1, 5), lambda x: x.transpose(1, 6), lambda x: x.squeeze(7), lambda x: x.mean(1).amax(4)],
)
def test_dimensions_that_are_none_are_reported_as_torch_does(make_clips, move):
    with pytest.raises(IndexError):
        move(pack(make_clips(LENGTHS)))


def test_a_view_of_dense_clips_is_that_of_packed_ones(make_clips):
    dense = torch.stack(make_clips((4, 4)))
    torch.testing.assert_close(pack_dense(dense).view(2, -1).frames.sum(), dense.sum())
    assert pack_dense(dense[:, :, :1]).view(2, 2, -1).shape == (2, 2, 50)


def random_move(rng, shape):
    """One step that the packed shape allows to name, and that means the same for a clip alone."""
    ndim = len(shape)
    dim, other, keep = rng.randrange(ndim), rng.randrange(ndim), rng.random() < 0.5
    order = rng.sample(range(1, ndim), ndim - 1)
    size = shape[dim] if dim and isinstance(shape[dim], int) else 1
    part = rng.choice([d for d in range(1, size + 1) if size % d == 0])
    start, end = sorted((dim, other))
    moves = {
        "transpose": lambda x: x.transpose(max(dim, 1), max(other, 1)),
        "permute": lambda x: x.permute(0, *order),
        "flatten": lambda x: x.flatten(max(start, 1), max(end, 1)),
        "split": lambda x: x.reshape(*x.shape[:dim], part, size // part, *x.shape[dim + 1 :]) if size > 1 else x,
        "rest": lambda x: x.reshape(*x.shape[:dim], -1, *x.shape[dim + 1 :]),
        "unsqueeze": lambda x: x.unsqueeze(dim + 1),
        "squeeze": lambda x: x.squeeze(dim) if dim and isinstance(shape[dim], int) else x,
        "mean": lambda x: x.mean(dim, keepdim=keep),
        "amax": lambda x: x.amax(dim, keepdim=keep),
        "softmax": lambda x: x.softmax(dim),
        "tanh": lambda x: torch.tanh(x * 2 - 1),
        "first": lambda x: x[(slice(None),) * dim + (0,)] if dim else x,
    }
    return rng.choice(list(moves.items()))


def clips_of(x):
    """The values of each clip, in the order of the dimensions."""
    x = View.of(x) if isinstance(x, PackedClips) else x
    frames = (part.permute(*_order(x)) for part in x.frames.unsqueeze(0).split(x.layout.lengths, 1))
    return [part.flatten() for part in frames]


def _order(x):
    named = [axis + 1 for dim in x.dims for axis in dim]  # N is 0, T is 1
    return [*named, *(axis for axis in range(x.frames.ndim + 1) if axis not in named)]


@pytest.mark.parametrize("lengths", [(2, 5, 1, 4), (4, 4), (1, 1), (2, 4)])
def test_any_chain_of_moves_is_that_of_each_clip_or_refused(make_clips, lengths):
    done = 0
    for seed in range(400):
        rng = random.Random(seed)
        clips = make_clips(lengths, channels=rng.choice([1, 4]), size=rng.choice([1, 4]))
        x, alone, names = pack(clips), [clip[None] for clip in clips], []
        try:
            for _ in range(rng.randrange(1, 6)):
                name, move = random_move(rng, x.shape)
                names.append(name)
                x = move(x)
                if isinstance(x, torch.Tensor):
                    break
                alone = [move(clip) for clip in alone]
        except TypeError:  # refused
            continue
        if isinstance(x, torch.Tensor):
            continue
        done += 1
        for got, expected in zip(clips_of(x), alone, strict=True):
            torch.testing.assert_close(got, expected.flatten(), msg=lambda text, names=names: f"{names}: {text}")
    assert done > 100


@pytest.mark.parametrize("shape", [(3, 1, 4, 4), (4, 1, 4, 4)])
def test_a_tensor_beside_a_view_has_an_entry_for_each_clip_or_one(shape):
    """Three frames in all are no reason to take three entries for theirs."""
    clips = pack([torch.randn(6, 1, 4, 4), torch.randn(6, 2, 4, 4)])
    with pytest.raises(TypeError, match="got a tensor of shape"):
        clips.mean(1) + torch.randn(shape)


@pytest.mark.parametrize("index", [True, torch.ones(2, 2, dtype=torch.bool), torch.tensor(1)])
def test_indices_without_a_rule_are_refused_by_name(index):
    with pytest.raises(TypeError, match="channels, frames and space only"):
        pack([torch.randn(6, 1, 4, 4), torch.randn(6, 2, 4, 4)])[:, index]
