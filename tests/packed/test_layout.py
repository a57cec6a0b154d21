"""No op may lose the memory layout: in float32, where torch chooses kernels, and so layouts, as in earnest."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast_atfr.packed import PackedClips, pack, pad_lengths, per_length
from slowfast_atfr.packed.clips import packed_strides

OPS = {
    "conv 1x1x1": nn.Conv3d(4, 8, 1),
    "conv 1x3x3": nn.Conv3d(4, 8, (1, 3, 3), (1, 2, 2), (0, 1, 1)),
    "conv 3x1x1": nn.Conv3d(4, 8, (3, 1, 1), padding=(1, 0, 0)),
    "conv 3x3x3": nn.Conv3d(4, 8, 3, padding=1),
    "conv 3x3x3, stride 2": nn.Conv3d(4, 8, 3, 2, 1),
    "conv 1x1x1, stride 2": nn.Conv3d(4, 8, 1, 2),
    "depthwise conv": nn.Conv3d(4, 4, 3, padding=1, groups=4),
    "batch norm": nn.BatchNorm3d(4),
    "batch norm, eval": nn.BatchNorm3d(4).eval(),
    "relu": nn.ReLU(),
    "sum": lambda x: x + x * 2,
    "gate": lambda x: x * x.mean((2, 3, 4), keepdim=True).sigmoid(),
    "dropout3d": nn.Dropout3d(),
    "max pool": nn.MaxPool3d(3, 1, 1),
    "max pool in space": nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    "avg pool": nn.AvgPool3d(3, 1, 1),
    "avg pool in space": nn.AvgPool3d((1, 2, 2)),
    "adaptive avg pool": nn.AdaptiveAvgPool3d((None, 1, 1)),
    "mean of frames": lambda x: x.mean((3, 4), keepdim=True),
    "cat": lambda x: torch.cat([x, x.relu()], 1),
    "channels": lambda x: x[:, 1:3],
    "crop": lambda x: x[..., 1:, :-1],
    "chunk": lambda x: x.chunk(2, 1)[1],
    "split": lambda x: torch.split(x, [1, 3], 1)[1],
    "pad in space": lambda x: F.pad(x, (1, 1, 1, 1)),
    "pad in time": lambda x: F.pad(x, (0, 0, 0, 0, 1, 2)),
    "pad_lengths": lambda x: pad_lengths(x, [length + 3 for length in x.lengths]),
    "softmax": nn.Softmax(1),
    "group norm": nn.GroupNorm(2, 4),
    "per_length": lambda x: per_length(x, lambda clips: clips.contiguous() * 2),
    "cast": lambda x: x.bfloat16().float(),
    "channel shuffle": lambda x: x.view(x.size(0), 2, 2, x.size(2), *x.shape[3:]).transpose(1, 2).reshape(x.shape),
    "list of channels": lambda x: x[:, [2, 0, 1]],
    "repeat": lambda x: x.repeat(1, 2, 1, 1, 1),
    "expand": lambda x: x.mean(1, keepdim=True).expand(x.shape),
    "mean of channels and back": lambda x: x.mean(1).unsqueeze(1),
    "pool of whole clips": lambda x: F.avg_pool3d(x, x.shape[2:]),
}


REFUSE_ONE_PIXEL = ("batch norm", "max pool in space", "avg pool", "avg pool in space", "crop")


@pytest.mark.parametrize(
    "name, size", [(name, size) for name in OPS for size in (6, 1) if size > 1 or name not in REFUSE_ONE_PIXEL]
)
def test_results_and_gradients_keep_the_layout(name, size):
    for lengths in ((3, 5, 4), (4, 4), (5,), (1,), (1, 1)):
        data = pack([torch.randn(4, length, size, size) for length in lengths]).joined.requires_grad_()
        y = OPS[name](PackedClips(data, lengths, round_to=2))
        assert y.joined.stride() == packed_strides(y.joined.shape) and y.round_to == 2, lengths
        (grad,) = torch.autograd.grad(y.joined, data, torch.randn_like(y.joined))
        # torch's own kernels for a small batch of one, and its degenerate strides, may return another layout
        if len(lengths) > 1 and size > 1:
            assert grad.stride() == packed_strides(grad.shape), lengths


@pytest.mark.parametrize("kernel", [(1, 1, 1), (1, 3, 3), (3, 1, 1), (3, 3, 3)])
@pytest.mark.parametrize("lengths", [(1,), (5,), (4, 4), (1, 6, 2)])
@pytest.mark.parametrize("channels, size", [(1, 5), (1, 1), (4, 1)])
def test_sizes_of_one(kernel, lengths, channels, size):
    conv = nn.Conv3d(channels, channels, kernel, padding=tuple(k // 2 for k in kernel))
    x = PackedClips(pack([torch.randn(channels, length, size, size) for length in lengths]).joined, lengths)
    y = nn.MaxPool3d(3, 1, 1)(conv(x).relu())
    assert y.joined.stride() == packed_strides(y.joined.shape) and y.lengths == lengths
