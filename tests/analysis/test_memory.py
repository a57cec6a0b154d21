import pytest
import torch
from torch import nn

from slowfast_atfr.analysis.memory import count_saved
from slowfast_atfr.packed import PackedClips, pack
from slowfast_atfr.sgs import SGS

FLOAT = 4


def saved_by(model, x):
    with count_saved(model) as saved:
        out = model(x)
        out = out.joined if isinstance(out, PackedClips) else out
    out.sum().backward()
    return saved.total()


def test_a_storage_counts_once_and_weights_do_not():
    layer = nn.Sequential(nn.Linear(5, 7, bias=False), nn.ReLU(inplace=True), nn.Linear(7, 3, bias=False))
    x = torch.randn(10, 5)
    assert saved_by(layer, x) == (10 * 5 + 10 * 7) * FLOAT  # the ReLU's output is the second layer's input
    layer[1] = nn.Sigmoid()
    assert saved_by(layer, x) == (10 * 5 + 10 * 7) * FLOAT
    layer[0].weight.requires_grad_(False)  # nobody wants x then
    layer[2].weight.requires_grad_(False)
    x.requires_grad_()
    assert saved_by(layer, x) == 10 * 7 * FLOAT


def test_gradients_are_those_without_counting():
    x = torch.randn(2, 4, 6, 5, 5).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    layer, grads = SGS(4, norm=nn.BatchNorm1d), []
    for count in (False, True):
        if count:
            with count_saved(layer):
                out = layer(x)
        else:
            out = layer(x)
        grads.append(torch.autograd.grad(out.joined.square().sum(), [x, *layer.parameters()]))
    for ours, theirs in zip(*grads, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("frames", [2, 6])
def test_packed_clips_keep_what_their_frames_are(frames):
    layer = nn.Conv3d(4, 4, 1, bias=False)
    clips = pack([torch.randn(4, frames, 3, 3), torch.randn(4, 1, 3, 3)])
    assert saved_by(layer, clips) == 4 * (frames + 1) * 9 * FLOAT
